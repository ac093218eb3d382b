"""What a reader of a table or figure has to know: sizes, stand-ins, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from ultraedit.tools.reproduce.environment import Environment, Unavailable
from ultraedit.tools.reproduce.names import METHODS, Wanted, label
from ultraedit.tools.reproduce.records import RunRecords
from ultraedit.tools.reproduce.steps import Run


def notes(
    records: RunRecords,
    wanted: Iterable[Wanted],
    finished: Callable[[Wanted], Run | None] | None = None,
) -> Iterator[str]:
    """What a reader of the numbers has to know: sizes, stand-ins, and what is missing.

    Args:
        records: The records.
        wanted: The runs behind the numbers.
        finished: Finds the run of each, where it is another than that of a row of a table.
    """
    wanted = list(wanted)
    scale = records.environment.scale
    yield f"Scale {scale.name}, turns of {scale.edits_per_turn:,} edits."
    methods = list(dict.fromkeys(each.method for each in wanted))
    yield from _protocols(records.environment, methods)
    yield from _untrained(records.environment, methods)
    for model in dict.fromkeys(each.model for each in wanted):
        yield f"{label(model)} is {records.environment.model(model)} here."
    for dataset in dict.fromkeys(each.dataset for each in wanted):
        try:
            yield f"{label(dataset)} is {records.environment.facts(dataset).shown} here."
        except Unavailable as error:
            yield f"{label(dataset)}: {error}"
    yield from _sizes(records, wanted, finished or records.run)
    reasons: dict[str, list[str]] = {}
    for name, why in records.missing.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        yield f"Missing, {why.rstrip('.')}: {'; '.join(names)}."


def _protocols(environment: Environment, methods: Sequence[str]) -> Iterator[str]:
    """By which protocol each method runs."""
    said = {"official": "that of their released code", "paper": "this package's own"}
    for protocol, whose in said.items():
        names = [label(method) for method in methods if environment.protocol_of(method) == protocol]
        if names:
            yield f"By protocol={protocol}, {whose}: {', '.join(names)}."
    alone = [label(method) for method in methods if environment.protocol_of(method) is None]
    if alone:
        yield f"With one protocol only: {', '.join(alone)}."


def _untrained(environment: Environment, methods: Sequence[str]) -> Iterator[str]:
    """Which rows are not the methods that they are named after."""
    names = [label(method) for method in methods if environment.untrained(method)]
    if names:
        yield (
            f"Nets are left untrained at this scale: {', '.join(names)} without one is not that "
            "method. Such a row has no published number beside it and is ranked nowhere."
        )


def means_of(environment: Environment, models: Collection[str]) -> Iterator[str]:
    """What a mean over models is of, where one stands for several of the paper's."""
    here = environment.different(models)
    if len(here) < len(models):
        each = " each" if len(here) > 1 else ""
        yield f"Our means count {' and '.join(here)} once{each}."


def _sizes(
    records: RunRecords, wanted: Iterable[Wanted], finished: Callable[[Wanted], Run | None]
) -> Iterator[str]:
    """How many edits the runs have made, method by method where they differ."""
    sizes: dict[str, set[int]] = {}
    singly: set[str] = set()
    for each in wanted:
        run = finished(each)
        if run is not None:
            sizes.setdefault(each.method, set()).add(records.edits(run))
            if run.settings["edits_per_turn"] == 1:
                singly.add(each.method)
    edits = [tuple(sorted(size)) for size in sizes.values()]
    usual = max(edits, key=edits.count, default=())
    if usual:
        yield f"Edits of a run: {_either(usual)}."
    for method, own in zip(sizes, edits, strict=True):
        if own != usual or method in singly:
            turns = ", one a turn" if method in singly else ""
            yield f"{METHODS[method].label}: {_either(own)} edits{turns}."


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(f"{number:,}" for number in numbers)

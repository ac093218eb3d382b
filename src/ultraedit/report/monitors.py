"""What the monitors saw, as a section of the page and a plot of general ability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ultraedit.evaluation.metrics import ALONE, METRICS
from ultraedit.report.blocks import (
    Block,
    Code,
    Heading,
    Line,
    Listing,
    Paragraph,
    Picture,
    Table,
)
from ultraedit.report.figures import AFTER, BEFORE, INK, Drawing, sketch
from ultraedit.report.formats import MISSING, format_count, format_number, format_percent
from ultraedit.report.reading import Seen

ABILITY = "ability.png"
"""File name of the plot of general ability."""

_ROWS = (
    ("KL on locality prompts, nats", "locality", "kl", format_number),
    ("top-1 agreement on locality prompts", "locality", "agreement", format_percent),
    *(
        (f"{METRICS[name].title} on the control set", "control", name, format_percent)
        for name in ALONE
        if METRICS[name].of_fact
    ),
)
"""Name, monitor, its value, and how that is written."""


def has_ability(seen: Sequence[Seen]) -> bool:
    """Whether general ability was measured more than once, and so can be drawn."""
    return sum("ability" in each.values for each in seen) > 1


def watched(seen: Sequence[Seen]) -> Iterator[Block]:
    """The section: values by checkpoint, general ability, the spectra after the last turn."""
    if not any(each.values for each in seen):
        return
    yield Heading("Monitors")
    rows = [[name, *cells] for name, cells in _lines(seen)]
    if rows:
        header = ["after turn", *(f"{each.turn:,}" for each in seen)]
        yield Table(header, rows, "l" + "r" * len(seen))
    if asked := "; ".join(_asked(seen)):
        yield Paragraph(f"General ability is right answers with their standard error: {asked}.")
    if has_ability(seen):
        alt = "General ability before and after the edits"
        yield Picture(ABILITY, alt, lambda: draw_ability(seen))
    yield from _prompts(seen)
    yield from _spectra(seen[-1].values.get("spectrum", {}))


def _prompts(seen: Sequence[Seen]) -> Iterator[Block]:
    """What a question of each task looks like to the model."""
    for task in _tasks(seen):
        if prompt := _first(seen, task).get("prompt"):
            yield Paragraph(
                ("The first question of ", Code(task), ", as the model reads it with its examples:")
            )
            yield Listing(prompt, "text")


def _first(seen: Sequence[Seen], task: str) -> Mapping[str, Any]:
    """The first look at a task."""
    found: Mapping[str, Any] = next(
        each.values["ability"][task] for each in seen if "ability" in each.values
    )
    return found


def _lines(seen: Sequence[Seen]) -> Iterator[tuple[str, list[str]]]:
    """The rows of the table, but for those of which nothing was measured."""
    for name, monitor, key, write in _ROWS:
        values = [each.values.get(monitor, {}).get(key) for each in seen]
        if any(value is not None for value in values):
            yield name, [write(value) for value in values]
    for task in _tasks(seen):
        cells = [_score(each.values.get("ability", {}).get(task)) for each in seen]
        yield f"general ability, {task}", cells


def _tasks(seen: Sequence[Seen]) -> list[str]:
    return list(dict.fromkeys(task for each in seen for task in each.values.get("ability", {})))


def _asked(seen: Sequence[Seen]) -> Iterator[str]:
    """How many questions of each task, and with how many examples."""
    for task in _tasks(seen):
        found = _first(seen, task)
        if "questions" in found:
            questions = format_count(found["questions"], "question")
            yield f"{task}, {questions} with {format_count(found['shots'], 'example')} each"


def _score(found: Mapping[str, Any] | None) -> str:
    """A score and its standard error."""
    if found is None:
        return MISSING
    error = found["stderr"]
    return format_percent(found["score"]) + ("" if error is None else f" ± {100 * error:.1f}")


def _spectra(modules: Mapping[str, Mapping[str, float]]) -> Iterator[Block]:
    if modules:
        yield Paragraph(
            "Leading singular value of the accumulated change of each weight after the last turn, "
            "and how many directions it uses: the exponential of the entropy of all of them."
        )
        rows: list[list[Line]] = [
            [Code(path), format_number(each["leading"]), format_number(each["effective_rank"])]
            for path, each in modules.items()
        ]
        yield Table(["module", "leading singular value", "effective rank"], rows, "lrr")


def draw_ability(seen: Sequence[Seen]) -> Drawing:
    """Draw the score of each task before and after the edits, with standard errors."""
    measured = [each.values["ability"] for each in seen if "ability" in each.values]
    tasks = _tasks(seen)

    def paint(figure: Any) -> None:
        panel = figure.subplots()
        sides = (("before", BEFORE, -0.2, measured[0]), ("after", AFTER, 0.2, measured[-1]))
        for name, colour, shift, scores in sides:
            panel.bar(
                [place + shift for place in range(len(tasks))],
                [100 * scores[task]["score"] for task in tasks],
                0.38,
                yerr=[100 * (scores[task]["stderr"] or 0) for task in tasks],
                color=colour,
                ecolor=INK,
                label=name,
            )
        panel.set_xticks(range(len(tasks)), tasks)
        panel.tick_params(axis="x", length=0)
        panel.set_ylim(0, 105)
        panel.set_title("General ability, % right with standard error")
        figure.legend(loc="outside upper right", ncols=2)

    return sketch(max(4.5, 1.5 + 1.2 * len(tasks)), 3.4, paint)

"""The comparison at length: every editor on the same facts, scored again and again on the way.

No table of the paper: its methods beside what a user would do instead, with intervals. A block for
each number of edits, and a plot of what was written against what was kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ultraedit.report.figures import COLORS, MUTED, RULE, draw
from ultraedit.tools.reproduce.artifact import Artifact, Content
from ultraedit.tools.reproduce.environment import Environment, Unavailable
from ultraedit.tools.reproduce.estimates import seconds
from ultraedit.tools.reproduce.measuring import Measure
from ultraedit.tools.reproduce.names import METHODS, Wanted, label, row_label
from ultraedit.tools.reproduce.records import RunRecords, Source, Value
from ultraedit.tools.reproduce.result_table import Cell, Result, cell
from ultraedit.tools.reproduce.search import SPACE, chosen, trial, trials_of
from ultraedit.tools.reproduce.steps import Run, Step

COMPARED = (
    "ultraedit",
    "ultraedit-auto",
    "anchored",
    "lora",
    "lora-all",
    "ft",
    "ft-bf",
    "memit",
    "alphaedit",
    "mend",
    "malmen",
    "rledit",
    "rect",
    "prune",
    "wise",
    "in-context",
)
"""The methods that are compared at length."""

QUICK = 30 * 60
"""Seconds of a run up to which it is made for every order of the facts."""

RECORDS = "records.jsonl"

_GROUPS = {
    "teacher-forced, %": (
        *("efficacy", "efficacy 95 %", "efficacy over seeds"),
        *("generalization", "generalization 95 %", "specificity"),
        *("agreement", "agreement 95 %", "agreement over seeds"),
    ),
    "exact, free generation, %": ("plain", "plain 95 %", "rephrased", "chat", "chat rephrased"),
    "": ("perplexity", "s / 100 edits", "GiB"),
    "ordinary text": ("next token, %", "KL, nats", "last word, %"),
}

COLUMNS = tuple((group, name) for group, names in _GROUPS.items() for name in names)
"""Headings of the columns, behind those of their groups."""


class Mark(NamedTuple):
    """A run as it stood after some edits."""

    run: Run
    line: int
    """Of its records."""
    row: dict[str, Any]
    """The checkpoint."""

    def number(self, field: str, scale: float = 100.0) -> Value | None:
        """A number of the checkpoint; None where it is null or not there."""
        value: Any = self.row
        for key in field.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return None
        return Value(scale * value, (Source(self.run.place, RECORDS, f"{self.line}:{field}"),))

    def interval(self, name: str) -> tuple[float, float] | None:
        """The bootstrap interval of a score, in percent."""
        ends = self.row.get("intervals", {}).get(name)
        return None if ends is None else (100 * ends[0], 100 * ends[1])


class ParetoPoint(NamedTuple):
    """A method in a plot of what was written against what was kept, in percent."""

    number: int
    """Its place among the methods compared."""
    name: str
    kept: Value | None
    kept_between: tuple[float, float] | None
    written: Value | None
    written_between: tuple[float, float] | None


def run_orders(plan: Artifact, environment: Environment, wanted: Wanted) -> Iterator[Step]:
    """The runs of a method, quick ones in several orders, and how the model reads afterwards.

    The longest run in the file's order comes first.
    """
    runs = list(_runs(environment, wanted))
    yield from runs
    reading = environment.reading()
    if reading is not None:
        yield Measure(reading, model=environment.model(wanted.model))
        yield Measure(reading, run=runs[0])


def _runs(environment: Environment, wanted: Wanted) -> Iterator[Run]:
    """The runs of a method: one for each order of the facts, one for each mark if it is whole.

    A net and an untrained one are of the file's order alone: what it was trained on is chosen
    by that.
    """
    about = seconds(environment.run(wanted))
    quick = about is not None and about <= QUICK and not METHODS[wanted.method].whole
    for seed in environment.seeds if quick else (0,):
        for mark in _lengths(environment, wanted):
            yield environment.run(wanted._replace(seed=seed, edits=mark))


def _lengths(environment: Environment, wanted: Wanted) -> list[int | None]:
    """Lengths of the runs of a method, the longest first; None is as long as the scale has it."""
    if not METHODS[wanted.method].whole:
        return [None]
    return [*reversed(environment.marks(environment.edits_of(wanted)))]


def comparison(plan: Artifact, records: RunRecords) -> Content:
    """A block for each number of edits, with a row for each method, and the plots."""
    wanted, environment = list(plan.wanted()), records.environment
    marks = environment.marks(max(environment.edits_of(each) for each in wanted))
    results = list(_unedited(records, wanted))
    plots: list[tuple[int, list[ParetoPoint]]] = []
    for mark in marks:
        dots = []
        for number, each in enumerate(wanted):
            checkpoints = _checkpoints(records, each, mark)
            if checkpoints:
                name = row_label(each.method, untrained=environment.untrained(each.method))
                results += _row(f"After {mark:,} edits", name, _cells(records, mark, checkpoints))
                dots.append(_dot(number, name, checkpoints[0]))
        if dots:
            plots.append((mark, dots))
    remarks = (*_told(), *_searched(environment, wanted), *_on_record(records, wanted, marks))
    return Content(results, remarks, _picture(_ends(plots)))


def _row(block: str, name: str, cells: Sequence[Cell]) -> Iterator[Result]:
    """The places of a row."""
    for (group, column), each in zip(COLUMNS, cells, strict=True):
        yield Result(block, name, group, column, each)


def _checkpoints(records: RunRecords, wanted: Wanted, mark: int) -> list[Mark]:
    """What is on record of a method after some edits, an entry for each order of the facts.

    The file's own comes first; without it there is nothing.
    """
    checkpoints: list[Mark] = []
    for seed in records.environment.seeds:
        edits = mark if METHODS[wanted.method].whole else None
        try:
            run = records.environment.run(wanted._replace(seed=seed, edits=edits))
        except Unavailable:
            break
        at = _mark(records, run, mark)
        if at is not None:
            checkpoints.append(at)
        elif not seed:
            break
    return checkpoints


def _cells(records: RunRecords, mark: int, checkpoints: Sequence[Mark]) -> tuple[Cell, ...]:
    """The places of a method after some edits."""
    first = checkpoints[0]
    free = "scores.generation"
    seconds, memory = _cost(records, first, mark)
    return (
        cell(first.number("scores.efficacy")),
        _between(first, "efficacy"),
        _over_seeds(checkpoints, "scores.efficacy"),
        cell(first.number("scores.generalization")),
        _between(first, "generalization"),
        cell(first.number("scores.specificity")),
        cell(first.number("scores.agreement")),
        _between(first, "agreement"),
        _over_seeds(checkpoints, "scores.agreement"),
        cell(first.number(f"{free}.efficacy")),
        _between(first, "generation.efficacy"),
        cell(first.number(f"{free}.generalization")),
        cell(first.number(f"{free}.probes.chat efficacy")),
        cell(first.number(f"{free}.probes.chat generalization")),
        cell(first.number("scores.perplexity", 1.0)),
        cell(seconds),
        cell(memory),
        *_reading_of(records, first.run, mark),
    )


def _unedited(records: RunRecords, wanted: Sequence[Wanted]) -> Iterator[Result]:
    """The model before any edit, as asked about all facts of the longest run."""
    environment = records.environment
    for each in sorted(wanted, key=lambda each: -environment.edits_of(each)):
        try:
            run = environment.run(each)
        except Unavailable:
            continue
        at = _mark(records, run, 0)
        if at is not None:
            yield from _row("Before any edit", "unedited", _cells(records, 0, [at]))
            return


def _on_record(
    records: RunRecords, wanted: Sequence[Wanted], marks: Sequence[int]
) -> Iterator[str]:
    """Which methods are on record for fewer edits than they were meant to make."""
    short: dict[int, list[str]] = {}
    for each in wanted:
        has = [mark for mark in marks if _checkpoints(records, each, mark)]
        if has and max(has) < records.environment.edits_of(each):
            short.setdefault(max(has), []).append(label(each.method))
    for most, names in sorted(short.items()):
        yield f"Missing, on record up to {most:,} edits: {'; '.join(names)}."


def _searched(environment: Environment, wanted: Sequence[Wanted]) -> Iterator[str]:
    """Whose settings the search chose, and whose are those out of the box."""
    known = {
        editor: chosen(editor, environment.model(each.model), each.dataset, environment.out)
        is not None
        for each in wanted
        if (editor := METHODS[each.method].editor) in SPACE
    }
    for was, text in (
        (True, "Settings chosen by the search of `reproduce tune`, 12 trials each"),
        (False, "Not searched yet, settings as they are out of the box"),
    ):
        names = [editor for editor, searched in known.items() if searched == was]
        if names and environment.scale.searched:
            yield f"{text}: {', '.join(names)}."


def _told() -> Iterator[str]:
    yield (
        "95 %: bootstrap over facts, 1,000 draws. Over seeds: least and largest value for "
        "several orders of the same facts, where there are some."
    )
    yield (
        "Free generation is greedy and of up to 100 of the edits made so far, evenly spaced; "
        "exact is `exact match` of docs/notation.md."
    )
    yield (
        "Agreement is the share of locality tokens where the top choice is the unedited "
        "model's. Seconds and memory are those of the machine that each run was made on."
    )
    yield "An unedited model is asked about all facts of the longest run."


def _mark(records: RunRecords, run: Run, edits: int) -> Mark | None:
    """The checkpoint of a run after some edits, finished or not; None where there is none."""
    if not (records.environment.out / run.place / RECORDS).is_file():
        return None
    for line, row in records.lines(run, RECORDS):
        made = 0 if row["kind"] == "checkpoint" and row["turn"] == 0 else row.get("made")
        if row["kind"] == "checkpoint" and made == edits:
            return Mark(run, line, row)
    return None


def _cost(records: RunRecords, mark: Mark, edits: int) -> tuple[Value | None, Value | None]:
    """Seconds for 100 edits and peak memory in GiB, over the turns up to some edits."""
    turns = [
        (line, row)
        for line, row in records.lines(mark.run, RECORDS)
        if row["kind"] == "turn" and row["total_edits"] <= edits
    ]
    if not turns:
        return None, None
    place = mark.run.place
    spent = sum(row["seconds"] for _, row in turns) * 100 / turns[-1][1]["total_edits"]
    sources = tuple(Source(place, RECORDS, f"{line}:seconds") for line, _ in turns)
    last, row = turns[-1]
    memory = Value(row["memory_bytes"] / 2**30, (Source(place, RECORDS, f"{last}:memory_bytes"),))
    return Value(spent, sources), memory


def _between(mark: Mark, name: str) -> Cell:
    """The interval of a score, as text."""
    ends = mark.interval(name)
    if ends is None:
        return Cell(None)
    source = Source(mark.run.place, RECORDS, f"{mark.line}:intervals.{name}")
    return Cell(f"{ends[0]:.1f} to {ends[1]:.1f}", None, (source,))


def _over_seeds(checkpoints: Sequence[Mark], field: str) -> Cell:
    """Least and largest value over the orders of the facts, as text; of one order nothing."""
    values = [value for each in checkpoints if (value := each.number(field)) is not None]
    if len(values) < 2:
        return Cell(None)
    numbers = [value.number for value in values]
    sources = tuple(source for value in values for source in value.sources)
    return Cell(f"{min(numbers):.1f} to {max(numbers):.1f} ({len(numbers)})", None, sources)


def _reading_of(records: RunRecords, run: Run, mark: int) -> tuple[Cell, ...]:
    """How the model reads before a run and at its end; nothing on the way."""
    tasks = records.environment.reading()
    if tasks is None or mark not in (0, run.settings["limit"]):
        return (Cell(None),) * 3
    before = Measure(tasks, model=run.settings["model"])
    folder, _, file = (Measure(tasks, run=run) if mark else before).place.rpartition("/")
    return (
        cell(records.number(folder, file, "tasks.next-token.score", 100)),
        cell(records.number(folder, file, "tasks.next-token.divergence")),
        cell(records.number(folder, file, "tasks.last-word.score", 100)),
    )


def _dot(number: int, name: str, mark: Mark) -> ParetoPoint:
    return ParetoPoint(
        number,
        name,
        mark.number("scores.agreement"),
        mark.interval("agreement"),
        mark.number("scores.efficacy"),
        mark.interval("efficacy"),
    )


def _ends(plots: Sequence[tuple[int, list[ParetoPoint]]]) -> list[tuple[int, list[ParetoPoint]]]:
    """The first and the last of the plots."""
    return [*plots[:1], *plots[1:][-1:]]


def front(dots: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Those that no other beats in both what was written and what was kept, by what was kept."""
    there = [dot for dot in dots if dot.kept is not None and dot.written is not None]
    return sorted(
        (dot for dot in there if not any(_beats(other, dot) for other in there)),
        key=lambda dot: dot.kept.number if dot.kept else 0.0,
    )


def _beats(one: ParetoPoint, other: ParetoPoint) -> bool:
    assert one.kept and one.written and other.kept and other.written
    ours = (one.kept.number, one.written.number)
    theirs = (other.kept.number, other.written.number)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


def _picture(plots: Sequence[tuple[int, list[ParetoPoint]]]) -> bytes:
    def paint(figure: Any) -> None:
        axes = figure.subplots(1, max(1, len(plots)), squeeze=False)[0]
        if not plots:
            axes[0].text(0.5, 0.5, "nothing to draw yet", ha="center", color=MUTED)
            axes[0].set_axis_off()
        for place, (mark, dots) in zip(axes, plots, strict=False):
            _pareto(place, mark, dots)
        handles: dict[str, Any] = {}
        for place in axes:
            drawn, names = place.get_legend_handles_labels()
            handles |= dict(zip(names, drawn, strict=True))
        if handles:
            figure.legend(handles.values(), handles, loc="outside right center", fontsize=7)

    return draw(5.2 * max(1, len(plots)) + 1.6, 4.2, paint)


MARKERS = ("o", "s", "^")
"""Methods that get a color for the second time have squares, and so on."""


def _pareto(place: Any, mark: int, dots: Sequence[ParetoPoint]) -> None:
    """A mark for each method with its intervals, and the line of those that none beats."""
    best = front(dots)
    place.plot(
        [dot.kept.number for dot in best if dot.kept],
        [dot.written.number for dot in best if dot.written],
        color=RULE,
        linewidth=3,
        zorder=1,
    )
    for dot in dots:
        if dot.kept is None or dot.written is None:
            continue
        again, shade = divmod(dot.number, len(COLORS))
        place.errorbar(
            [dot.kept.number],
            [dot.written.number],
            xerr=_error(dot.kept, dot.kept_between),
            yerr=_error(dot.written, dot.written_between),
            color=COLORS[shade],
            marker=MARKERS[again % len(MARKERS)],
            linestyle="",
            linewidth=0.8,
            markersize=5,
            label=dot.name,
            zorder=2,
        )
    place.set_title(f"After {mark:,} edits")
    place.set_xlabel("kept: agreement with the unedited model, %")
    place.set_ylabel("written: efficacy, %")
    place.set_xlim(0, 103)
    place.set_ylim(0, 103)


def _error(value: Value, between: tuple[float, float] | None) -> list[list[float]] | None:
    """How far an interval reaches below and above its value."""
    if between is None:
        return None
    below, above = value.number - between[0], between[1] - value.number
    return [[max(0.0, below)], [max(0.0, above)]]


def trial_runs(
    plan: Artifact, environment: Environment
) -> dict[str, list[tuple[dict[str, Any], Run]]]:
    """Options and run of each trial of every editor of a comparison, as far as it can be made.

    Args:
        plan: The comparison.
        environment: The scale; what an earlier search chose is left aside.
    """
    plain = replace(environment, scale=replace(environment.scale, searched=False))
    trials: dict[str, list[tuple[dict[str, Any], Run]]] = {}
    for wanted in plan.wanted():
        editor = METHODS[wanted.method].editor
        if editor in SPACE and editor not in trials:
            try:
                run, facts = plain.run(wanted), plain.facts(wanted.dataset)
            except Unavailable:
                continue
            trials[editor] = [
                (options, trial(run, facts.path, options)) for options in trials_of(editor)
            ]
    return trials

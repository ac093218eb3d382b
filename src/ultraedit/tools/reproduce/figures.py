"""What the figures show: lines over the number of edits, efficacy against time, and bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ultraedit.report.figures import BEFORE, COLORS, INK, MUTED, draw
from ultraedit.tools.reproduce.artifact import Artifact, Content, Panel
from ultraedit.tools.reproduce.environment import Environment
from ultraedit.tools.reproduce.measuring import Measure, Tasks
from ultraedit.tools.reproduce.names import Wanted, label, row_label
from ultraedit.tools.reproduce.notes import means_of
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.records import Point, RunRecords, Value, mean_of
from ultraedit.tools.reproduce.result_table import Cell, Result, cell
from ultraedit.tools.reproduce.steps import Step

CHANCE = {"sst2": 50.0, "mmlu": 25.0, "mrpc": 50.0, "nli": 50.0}
"""Percent that guessing gets. Nobody guesses a word of ordinary text."""

_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")


Scored = tuple[Value | None, Value | None]
"""A score and its standard error."""

_NOTHING: Scored = (None, None)


class Line(NamedTuple):
    """A line of a panel."""

    wanted: Wanted
    name: str
    points: list[Point]
    printed: float | None
    """What the paper prints for its end."""


class Dot(NamedTuple):
    """A method's means over models."""

    name: str
    seconds: Cell
    """For an edit."""
    efficacy: Cell


def lines(plan: Artifact, records: RunRecords) -> Content:
    """Scores or memory over the edits, a panel each; before them efficacy against editing time."""
    panels = [
        (panel, [_line(plan, records, panel, w) for w in panel.wanted()]) for panel in plan.panels
    ]
    dots = _dots(plan, records) if plan.scatter else []
    results = [each for dot in dots for each in dot_results(dot)]
    for panel, drawn in panels:
        for line in drawn:
            results += line_results(panel.title, line, timed=plan.scatter)
    means = means_of(records.environment, plan.panels[0].models) if plan.scatter else ()
    return Content(results, [*means, *_crosses(panels)], _picture(dots, panels))


def _line(plan: Artifact, records: RunRecords, panel: Panel, wanted: Wanted) -> Line:
    ((dataset, metric),) = panel.columns
    points = records.memory(wanted) if metric == "memory" else records.curve(wanted, metric)
    printed = published(plan.id).value(
        panel=dataset, method=wanted.method, model=wanted.model, metric=metric
    )
    untrained = records.environment.untrained(wanted.method)
    name = row_label(wanted.method, untrained=untrained)
    if len(panel.models) > 1:
        name = f"{name}, {label(wanted.model)}"
    return Line(wanted, name, points, None if untrained else printed)


def _dots(plan: Artifact, records: RunRecords) -> list[Dot]:
    """Of each method its seconds per edit and its efficacy."""
    panel = plan.panels[0]
    ((dataset, _),) = panel.columns
    dots = []
    for method in panel.methods:
        seconds: list[Value | None] = []
        efficacy: list[Value | None] = []
        for model in records.environment.different(panel.models).values():
            wanted = Wanted(model, method, dataset)
            run = records.run(wanted)
            efficacy.append(records.score(wanted, "efficacy"))
            if run is None:
                seconds.append(None)
            else:
                share = 1 / records.edits(run)
                seconds.append(records.number(run.place, "summary.json", "edit_seconds", share))
        printed = published(plan.id).value(panel="efficacy-time", method=method)
        untrained = records.environment.untrained(method)
        shown = cell(mean_of(efficacy), None if untrained else printed)
        dots.append(Dot(row_label(method, untrained=untrained), cell(mean_of(seconds)), shown))
    return dots


def dot_results(dot: Dot) -> Iterator[Result]:
    """A row of the table for a method."""
    place = ("Efficacy and editing time", dot.name, "")
    yield Result(*place, "edits", Cell(None))
    yield Result(*place, "seconds per edit", dot.seconds)
    yield Result(*place, "value", dot.efficacy)


def line_results(title: str, line: Line, *, timed: bool) -> Iterator[Result]:
    """A row of the table for each point; what the paper prints stands at the last."""
    cells = [(Cell(p.at, None, (p.made,)), cell(p.value)) for p in line.points]
    cells = cells or [(Cell(None), Cell(None))]
    for number, (edits, value) in enumerate(cells, 1):
        printed = line.printed if number == len(cells) else None
        place = (title, line.name, "")
        yield Result(*place, "edits", edits, number)
        if timed:
            yield Result(*place, "seconds per edit", Cell(None), number)
        yield Result(*place, "value", Cell(value.ours, printed, value.sources), number)


def _crosses(lines: Sequence[tuple[Panel, list[Line]]]) -> Iterator[str]:
    """What the crosses are, if there are any."""
    if any(line.points and line.printed is not None for _, drawn in lines for line in drawn):
        yield (
            "A cross is the paper's number, after all edits of its own run; it stands at the end "
            "of ours."
        )


def _picture(dots: Sequence[Dot], lines: Sequence[tuple[Panel, list[Line]]]) -> bytes:
    count = len(lines) + bool(dots)
    columns = min(count, 2)
    height = -(-count // columns)

    def paint(figure: Any) -> None:
        axes = list(figure.subplots(height, columns, squeeze=False).flat)
        for spare in axes[count:]:
            spare.set_visible(False)
        if dots:
            _scatter(axes.pop(0), dots)
        for (panel, drawn), place in zip(lines, axes, strict=False):
            _lines_over_edits(place, panel, drawn)

    return draw(6.5 * columns, 3.8 * height, paint)


def _scatter(place: Any, dots: Sequence[Dot]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for number, (name, seconds, efficacy) in enumerate(dots):
        if isinstance(seconds.ours, float) and isinstance(efficacy.ours, float):
            place.scatter(
                [seconds.ours],
                [efficacy.ours],
                color=COLORS[number % len(COLORS)],
                marker=_MARKERS[number % len(_MARKERS)],
                label=name,
            )
    place.set_title("(a) Efficacy and editing time")
    place.set_xscale("log")
    place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    place.xaxis.set_minor_formatter(NullFormatter())
    place.set_xlabel("seconds per edit")
    place.set_ylabel("efficacy, %")
    place.set_ylim(0, 105)
    if place.get_legend_handles_labels()[0]:
        # Outside: among the points its marks would be read as points.
        place.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _lines_over_edits(place: Any, panel: Panel, lines: Sequence[Line]) -> None:
    """A color for each method, a dash for each model, a cross for what the paper prints.

    Methods that get a color for the second time are dashed and have squares: a panel of so many
    has one model.
    """
    from matplotlib.ticker import MaxNLocator

    few, crossed = 20, False
    memory = panel.columns[0][1] == "memory"
    for line in lines:
        again, shade = divmod(panel.methods.index(line.wanted.method), len(COLORS))
        dash = _DASHES[(panel.models.index(line.wanted.model) + again) % len(_DASHES)]
        color = COLORS[shade]
        if not line.points:
            continue
        at, values = [p.at for p in line.points], [p.value.number for p in line.points]
        marker = _MARKERS[again] if len(at) <= few else ""
        place.plot(
            at, values, color=color, linestyle=dash, marker=marker, markersize=3, label=line.name
        )
        if line.printed is not None:
            cross = "x" if not again else "+"
            place.plot(at[-1:], [line.printed], color=color, marker=cross, linestyle="")
            crossed = True
    if crossed:
        place.plot([], [], color=MUTED, marker="x", linestyle="", label="the paper's last")
    place.set_title(panel.title)
    if not place.get_lines():
        place.text(0.5, 0.5, "nothing to draw; the page says why", ha="center", color=MUTED)
        place.set_axis_off()
        return
    place.set_xlabel("edits")
    place.set_ylabel("GiB" if memory else "%")
    most = max((p.value.number for line in lines for p in line.points), default=1.0)
    place.set_ylim(0, 1.15 * most if memory else 105)
    place.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))
    if place.get_legend_handles_labels()[0]:
        place.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)


def run_and_ability(plan: Artifact, environment: Environment, wanted: Wanted) -> Iterator[Step]:
    """A run, and the general ability of the model before and after it."""
    run = environment.run(wanted)
    yield from ability_before(environment, wanted.model)
    yield run
    yield from (Measure(tasks, run=run) for tasks in tasks_of(environment))


def tasks_of(environment: Environment) -> list[Tasks]:
    """The paper's tasks, and where they are measured those of ordinary text."""
    reading = environment.reading()
    return [environment.ability(), *([] if reading is None else [reading])]


def ability_before(environment: Environment, model: str) -> list[Measure]:
    """General ability of a model of the paper, unedited."""
    return [Measure(tasks, model=environment.model(model)) for tasks in tasks_of(environment)]


def bars(plan: Artifact, records: RunRecords) -> Content:
    """General ability of the unedited model and after the edits of each method, in percent."""
    (panel,) = plan.panels
    before = ability_before(records.environment, *panel.models)
    names = [task for measure in before for task in measure.tasks.names]
    measured = [("Vanilla", _ability(records, before, "Vanilla"))]
    for wanted in plan.wanted():
        run, scores = records.run(wanted), [_NOTHING] * len(names)
        if run is not None:
            after = [Measure(tasks, run=run) for tasks in tasks_of(records.environment)]
            scores = _ability(records, after, str(wanted))
        untrained = records.environment.untrained(wanted.method)
        measured.append((row_label(wanted.method, untrained=untrained), scores))
    results = [
        Result("", name, label(task), column, cell(value))
        for name, scores in measured
        for task, pair in zip(names, scores, strict=True)
        for column, value in zip(("accuracy", "s.e."), pair, strict=True)
    ]
    guessed = ", ".join(f"{label(task)} {chance:g}" for task, chance in CHANCE.items())
    remarks = [f"Guessing gets {guessed} %; the dashed lines are drawn there."]
    if measurement := records.object(before[0].place):
        asked = (
            f"{label(name)} {task['questions']:,} with {task['shots']} examples"
            for name, task in measurement["tasks"].items()
        )
        remarks.append(f"Questions of {measurement['harness']}: {', '.join(asked)}.")
    return Content(results, remarks, _bars(names, measured))


def _ability(records: RunRecords, measures: Sequence[Measure], name: str) -> list[Scored]:
    """Score and standard error of each task."""
    scores: list[Scored] = []
    for measure in measures:
        if measure.status(records.environment.out) != "done":
            records.missing[f"general ability, {name}"] = "not measured yet"
        folder, _, file = measure.place.rpartition("/")
        for task in measure.tasks.names:
            score = records.number(folder, file, f"tasks.{task}.score", 100)
            scores.append((score, records.number(folder, file, f"tasks.{task}.stderr", 100)))
    return scores


def _bars(names: Sequence[str], rows: Sequence[tuple[str, list[Scored]]]) -> bytes:
    def paint(figure: Any) -> None:
        place = figure.subplots()
        width = 0.85 / len(rows)
        for number, (name, scores) in enumerate(rows):
            at = [task + (number - (len(rows) - 1) / 2) * width for task in range(len(names))]
            heights = [value.number if value else 0.0 for value, _ in scores]
            errors = [error.number if error else 0.0 for _, error in scores]
            color = BEFORE if number == 0 else COLORS[(number - 1) % len(COLORS)]
            hatch = "//" if number > len(COLORS) else None
            place.bar(
                at,
                heights,
                width,
                yerr=errors,
                color=color,
                label=name,
                hatch=hatch,
                ecolor="#555555",
            )
        for at_task, task in enumerate(names):
            if task in CHANCE:
                ends = (at_task - 0.46, at_task + 0.46)
                place.hlines(CHANCE[task], *ends, color=INK, linestyle="--", linewidth=1)
        place.set_xticks(range(len(names)), [label(task) for task in names])
        place.tick_params(axis="x", length=0)
        place.set_ylim(0, 105)
        place.set_title("Accuracy and standard error, %")
        figure.legend(loc="outside right upper", fontsize=8)

    return draw(9.0, 3.6, paint)

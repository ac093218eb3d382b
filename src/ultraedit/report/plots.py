"""The plots of a run and of several runs."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, cycle
from typing import Any

from ultraedit.evaluation.metrics.retention import Retention, forgetting_curve
from ultraedit.report.comparison import Compared
from ultraedit.report.figures import (
    AFTER,
    BEFORE,
    COLORS,
    FEW_TURNS,
    INK,
    Drawing,
    mark_turns,
    shorten,
    sketch,
)
from ultraedit.report.formats import (
    byte_power,
    byte_unit,
    format_count,
    format_number,
    format_percent,
    kind_of,
    short_names,
)
from ultraedit.report.reading import CheckpointPoint, History, MonitorValues
from ultraedit.report.scores import METRICS, ScoreRow, label

WIDEST = 10
"""Up to so many pairs of bars stand in one row; more of them lie, or the letters get too small."""

WIDE = 20
"""An axis is logarithmic if its last number is so many times the first."""

LONGEST_LEGEND = 24
"""Up to so many modules each has its line in the legend; of more of them, one of each kind."""

MOST_ROWS = 200
"""Up to so many turns each has a row in the heat map; of more of them, neighbors share one."""

_THICK = 0.38
"""Of a bar, where a pair has 1."""

_DASHES = ("-", "--", ":", "-.")
"""A second way to tell lines apart, and the only one where there are more lines than colors."""

_NORMS = "Weight change, ‖ΔW‖ / ‖W‖ in %"

Pair = tuple[str, float | None, float | None]
"""A name, and a score before and after."""

Line = list[tuple[float, float]]
"""Edits made, and a value."""


# What several plots have in common


def _plot(panel: Any, line: Iterable[tuple[float, float]], size: float = 3, **look: Any) -> Any:
    """A line, with a mark for each of a few numbers."""
    x, y = zip(*line, strict=True)
    marker = "o" if len(x) <= FEW_TURNS else ""
    return panel.plot(x, y, **{"linewidth": 1.4, "marker": marker, "markersize": size} | look)[0]


def _thousands(panel: Any) -> None:
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _from_zero(panel: Any, values: Sequence[float]) -> None:
    """An axis from zero, or one of powers of ten where a model has collapsed."""
    if max(values) > WIDE * min(values) > 0:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        panel.set_yscale("log")
        # Its own labels are formulas, and ours are plain text.
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value)))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.set_ylim(0, 1.12 * max(values) or 1)


def _power_of_ten(value: float) -> str:
    """Such as ``0.01`` or ``1,000``, with an exponent where zeros are hard to count."""
    return f"{value:,g}" if 1e-4 <= value < 1e6 else f"{value:.0e}"


# What a run reached


def draw_metrics(rows: Sequence[ScoreRow]) -> Drawing:
    """Draw the scores before and after as pairs of bars, forced and free side by side.

    Args:
        rows: The scores. What was not measured at all has no bars.
    """
    forced = [(row.name, row.forced_before, row.forced_after) for row in rows if row.forced]
    free = [(row.name, row.generated_before, row.generated_after) for row in rows if row.generated]
    panels = [
        ("Free generation, exact match, %", free),
        ("Teacher-forced token accuracy, %", forced),
    ]
    panels = [panel for panel in panels if panel[1]] or panels[1:]
    counts = [max(1, len(groups)) for _, groups in panels]
    upright = sum(counts) <= WIDEST

    def paint(figure: Any) -> None:
        widths = counts if upright else None
        axes = figure.subplots(1, len(panels), sharey=upright, width_ratios=widths, squeeze=False)
        for panel, (title, groups) in zip(axes.flat, panels, strict=True):
            _pairs(panel, groups, upright=upright)
            panel.set_title(title)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)

    if upright:
        return sketch(max(5.0, 1.0 + 1.15 * sum(counts)), 4.0, paint)
    return sketch(4.5 * len(panels), 1.2 + 0.42 * max(counts), paint)


def _pairs(panel: Any, groups: Sequence[Pair], *, upright: bool) -> None:
    """Pairs of bars that stand with their names below, or lie where there are many."""
    names = [name for name, *_ in groups]
    draw, places = (panel.bar if upright else panel.barh), range(len(groups))
    for column, name, color, side in ((1, "before", BEFORE, -0.5), (2, "after", AFTER, 0.5)):
        scores: list[Any] = [group[column] for group in groups]
        at = [place + side * _THICK for place in places]
        heights = [100 * (score or 0) for score in scores]
        bars = draw(at, heights, _THICK, color=color, label=name)
        written = [format_percent(score).removesuffix("%") for score in scores]
        panel.bar_label(bars, written, padding=2, fontsize=8 if upright else 7.5)
    if upright:
        panel.set_xticks(places, [_wrapped(name, 14, 4) for name in names])
        panel.tick_params(axis="x", length=0)
        panel.set_xlim(-0.6, len(groups) - 0.4)
        panel.set_ylim(0, 108)
        panel.set_yticks(range(0, 101, 20))
    else:
        panel.set_yticks(places, [_wrapped(name, 28, 2) for name in names])
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(len(groups) - 0.4, -0.6)
        panel.set_xlim(0, 115)
        panel.set_xticks(range(0, 101, 20))
        panel.grid(visible=False, axis="y")
        panel.grid(visible=True, axis="x")


def _wrapped(name: str, width: int, lines: int) -> str:
    """A name in as many lines as a pair of bars has room for."""
    return textwrap.fill(name, width, max_lines=lines, placeholder="…")


def draw_ability(seen: Sequence[MonitorValues]) -> Drawing:
    """Draw the score of each task before and after the edits, with standard errors."""
    measured = [each.values["ability"] for each in seen if "ability" in each.values]
    tasks = list(dict.fromkeys(task for scores in measured for task in scores))

    def paint(figure: Any) -> None:
        panel = figure.subplots()
        sides = (("before", BEFORE, -0.2, measured[0]), ("after", AFTER, 0.2, measured[-1]))
        for name, color, shift, scores in sides:
            panel.bar(
                [place + shift for place in range(len(tasks))],
                [100 * scores[task]["score"] for task in tasks],
                0.38,
                yerr=[100 * (scores[task]["stderr"] or 0) for task in tasks],
                color=color,
                ecolor=INK,
                label=name,
            )
        panel.set_xticks(range(len(tasks)), tasks)
        panel.tick_params(axis="x", length=0)
        panel.set_ylim(0, 105)
        panel.set_title("General ability, % right with standard error")
        figure.legend(loc="outside upper right", ncols=2)

    return sketch(max(4.5, 1.5 + 1.2 * len(tasks)), 3.4, paint)


# What its turns cost


def draw_speed_and_memory(history: History) -> Drawing:
    """Draw the speed of each turn, and the peak memory up to its end."""
    power = byte_power(max(history.memory_bytes, default=0))
    memory = [count / 1024**power for count in history.memory_bytes]

    def paint(figure: Any) -> None:
        speed_panel, memory_panel = figure.subplots(1, 2)
        _over_turns(speed_panel, history.turns, history.edits_per_second, COLORS[0])
        _median(speed_panel, history.edits_per_second)
        speed_panel.set_title("Edits per second")
        _over_turns(memory_panel, history.turns, memory, COLORS[2])
        memory_panel.set_title(f"Peak memory ({byte_unit(power)})")

    return sketch(9.0, 3.4, paint)


def _over_turns(panel: Any, turns: Sequence[int], values: Sequence[float], color: str) -> None:
    """One number a turn, from zero: bars while they can be told apart, a line beyond."""
    if len(turns) <= FEW_TURNS:
        bars = panel.bar(turns, values, 0.6, color=color)
        if len(turns) <= 6:
            panel.bar_label(bars, [format_number(value) for value in values], padding=2)
        middle = (turns[0] + turns[-1]) / 2 if turns else 1.0
        half = max(1.5, len(turns) / 2)
        panel.set_xlim(middle - half - 0.1, middle + half + 0.1)
    else:
        panel.plot(turns, values, color=color, linewidth=1.2)
    mark_turns(panel, turns)
    panel.set_ylim(0, 1.12 * max((value for value in values if value > 0), default=1.0))


def _median(panel: Any, values: Sequence[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) > FEW_TURNS:
        middle = statistics.median(finite)
        label = f"median {format_number(middle)}"
        panel.axhline(middle, color=INK, linestyle="--", linewidth=1, label=label)
        panel.legend(loc="lower right")


# Scores over the edits made


def draw_curves(points: Sequence[CheckpointPoint]) -> Drawing:
    """Draw the scores of all edits so far, or of the sample, and of the newest edits.

    Args:
        points: The checkpoints after a turn, at least two, by the number of edits made.
    """
    metrics = dict(zip(METRICS, cycle(COLORS), strict=False))
    scores = [point.scores for point in points]
    panels = [(f"{whom(points)}, %", metrics, scores)]
    if any(point.newest is not None for point in points):
        newest = [point.newest or {} for point in points]
        panels.append((f"The newest {points[-1].newest_edits:,}, %", metrics, newest))
    if any(each.get("perplexity") is not None for each in scores):
        panels.append(("Perplexity on the text", {"perplexity": COLORS[4]}, scores))

    def paint(figure: Any) -> None:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (title, colors, values) in zip(axes, panels, strict=True):
            lines = {name: _line(points, values, name) for name in colors}
            for name, line in lines.items():
                if line:
                    _plot(panel, line, color=colors[name], label=label(name))
            panel.set_title(title)
            if perplexity := lines.get("perplexity"):
                _from_zero(panel, [y for _, y in perplexity])
                _over_edits(panel, [x for x, _ in perplexity])
            else:
                panel.set_ylim(0, 105)
                _over_edits(panel, [point.edits for point in points])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))

    return sketch(9.0 + 2.5 * (len(panels) == 3), 3.8, paint)


def _line(
    points: Sequence[CheckpointPoint], scores: Sequence[Mapping[str, Any]], name: str
) -> Line:
    """A score by the edits made, in percent unless it is the perplexity."""
    unit = 1 if name == "perplexity" else 100
    return [
        (point.edits, unit * each[name])
        for point, each in zip(points, scores, strict=True)
        if each.get(name) is not None
    ]


def whom(points: Sequence[CheckpointPoint]) -> str:
    """Whose scores these are, as a title."""
    last = points[-1]
    if last.scored == last.made:
        return "All edits so far"
    return f"A sample of {format_count(last.scored, 'edit')}"


def _over_edits(panel: Any, edits: Sequence[float]) -> None:
    """The axis of the edits made, logarithmic if they are far apart."""
    panel.set_xlabel("edits made")
    if edits[-1] >= WIDE * max(1, edits[0]):
        panel.set_xscale("log")
    else:
        panel.set_xlim(left=0)
    _thousands(panel)


# Several runs over each other


def draw_overlay(runs: Sequence[Compared]) -> Drawing:
    """Draw the teacher-forced scores of all runs, and the perplexity where any run has it.

    Args:
        runs: Those that can be compared.
    """
    panels = []
    for name in (*METRICS, "perplexity"):
        lines = [_scores(each, name) for each in runs]
        if any(lines) and name == "perplexity":
            panels.append(("Perplexity on the text", lines))
        elif any(lines):
            percent = [[(x, 100 * y) for x, y in line] for line in lines]
            panels.append((f"{label(name).capitalize()}, teacher-forced, %", percent))
    return _overlay(runs, panels, 2.8)


def draw_costs(runs: Sequence[Compared]) -> Drawing:
    """Draw what 100 edits took in each turn, and the peak memory up to its end."""
    power = byte_power(max((each.figures.peak_memory_bytes for each in runs), default=0))
    time: list[Line] = []
    memory: list[Line] = []
    for each in runs:
        history = each.run.history
        turns = list(zip(accumulate(map(float, history.edits)), history.edits, strict=True))
        costs = zip(turns, history.seconds, strict=True)
        time.append([(x, 100 * seconds / edits) for (x, edits), seconds in costs if edits > 0])
        sizes = zip(turns, history.memory_bytes, strict=True)
        memory.append([(x, size / 1024**power) for (x, _), size in sizes])
    panels = [("Seconds for 100 edits", time), (f"Peak memory ({byte_unit(power)})", memory)]
    return _overlay(runs, panels, 3.0)


def _scores(each: Compared, name: str) -> Line:
    """A score from the unedited model to the last checkpoint; empty where it was not measured."""
    before, after = (each.run.summary[side].get(name) for side in ("before", "after"))
    points = [(point.edits, point.scores.get(name)) for point in each.run.history.points]
    if not points:
        points = [(each.figures.edits, after)]
    return [(float(x), y) for x, y in [(0, before), *points] if y is not None]


def _overlay(
    runs: Sequence[Compared], panels: Sequence[tuple[str, list[Line]]], height: float
) -> Drawing:
    """Panels in two columns, each with its title and a line for each run."""
    from matplotlib.lines import Line2D

    rows = max(1, -(-len(panels) // 2))
    looks: list[dict[str, Any]] = [
        {
            "color": COLORS[number % len(COLORS)],
            "linestyle": _DASHES[number // len(COLORS) % len(_DASHES)],
        }
        for number in range(len(runs))
    ]

    def paint(figure: Any) -> None:
        axes = list(figure.subplots(rows, 2, squeeze=False).flat)
        for spare in axes[max(1, len(panels)) :]:
            spare.set_visible(False)
        for panel, (title, lines) in zip(axes, panels, strict=False):
            for line, look in zip(lines, looks, strict=True):
                if line:
                    _plot(panel, line, **look)
            panel.set_title(title)
            panel.set_xlabel("edits made")
            panel.set_xlim(left=0)
            _thousands(panel)
            if title.endswith("%"):
                panel.set_ylim(0, 105)
            else:
                _from_zero(panel, [y for line in lines for _, y in line] or [1.0])
        handles = [Line2D([], [], linewidth=1.4, **look) for look in looks]
        names = [shorten(each.name) for each in runs]
        figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 3))

    return sketch(9.0, 0.8 + height * rows, paint)


# How edits hold


def draw_retention(matrix: Retention) -> Drawing:
    """Draw the scores by the turn of the edit and of the evaluation, and by age.

    Args:
        matrix: The scores, as fractions. At least one evaluation after a turn.
    """
    from matplotlib.ticker import MaxNLocator

    curve = forgetting_curve(matrix)

    def paint(figure: Any) -> None:
        heat, aged = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
        _heat_map(figure, heat, matrix)
        _plot(aged, [(p.age, 100 * p.score) for p in curve], 3.5, color=COLORS[0])
        aged.set_title("Efficacy by age, %")
        aged.set_xlabel("turns since the edit")
        aged.xaxis.set_major_locator(MaxNLocator(integer=True))
        aged.set_ylim(0, 105)

    return sketch(9.0, 3.8, paint)


def shared_rows(matrix: Retention, most: int = MOST_ROWS) -> list[list[float]]:
    """Average neighboring turns of edits until there are at most so many rows.

    Args:
        matrix: The scores.
        most: Most rows.

    Returns:
        Rows of fractions, not a number where nothing was scored.
    """
    size = -(-len(matrix.scores) // most)
    return [
        [_mean(column) for column in zip(*matrix.scores[start : start + size], strict=True)]
        for start in range(0, len(matrix.scores), size)
    ]


def _mean(scores: Sequence[float | None]) -> float:
    there = [score for score in scores if score is not None]
    return sum(there) / len(there) if there else float("nan")


def _heat_map(figure: Any, panel: Any, matrix: Retention) -> None:
    from matplotlib.ticker import MaxNLocator

    rows = [[100 * score for score in row] for row in shared_rows(matrix)]
    first, last = matrix.edited[0], matrix.edited[-1]
    image = panel.imshow(
        rows,
        cmap="viridis",
        vmin=0,
        vmax=100,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(-0.5, len(matrix.evaluated) - 0.5, first - 0.5, last + 0.5),
    )
    panel.grid(visible=False)
    panel.set_title("Efficacy by turn, %")
    panel.set_xlabel("scored after turn")
    panel.set_ylabel("edited in turn")
    step = -(-len(matrix.evaluated) // 8)
    places = range(0, len(matrix.evaluated), step)
    panel.set_xticks(places, [str(matrix.evaluated[place]) for place in places])
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=panel)


# How far weights have moved


def draw_norms(history: History) -> Drawing:
    """Draw the norms over the turns, or as bars after a single turn."""
    norms = {path: [100 * norm for norm in values] for path, values in history.norms.items()}
    names = dict(zip(norms, map(shorten, short_names(list(norms))), strict=True))
    looks = _module_looks(list(norms))

    def paint_lines(figure: Any) -> None:
        panel = figure.subplots()
        lines = {
            path: _plot(
                panel, zip(history.turns[-len(values) :], values, strict=True), 3.5, **looks[path]
            )
            for path, values in norms.items()
        }
        mark_turns(panel, history.turns)
        panel.set_title(_NORMS)
        panel.set_ylim(bottom=0)
        if named := _in_legend(norms, names):
            handles = [lines[path] for path in named]
            figure.legend(handles, named.values(), loc="outside right upper", fontsize=8)

    def paint_bars(figure: Any) -> None:
        panel, places = figure.subplots(), range(len(norms))
        values = [each[-1] for each in norms.values()]
        bars = panel.barh(places, values, 0.6, color=COLORS[0])
        panel.bar_label(bars, [format_number(value) for value in values], padding=3, fontsize=8)
        panel.set_yticks(places, names.values())
        panel.set_ylim(len(values) - 0.4, -0.6)
        panel.grid(visible=False)
        panel.margins(x=0.1)
        panel.set_title(_NORMS)

    if len(history.turns) == 1:
        return sketch(7.0, 1.0 + 0.25 * max(2, len(norms)), paint_bars)
    return sketch(9.0, max(3.6, 1.0 + 0.19 * min(len(norms), LONGEST_LEGEND)), paint_lines)


def _module_looks(paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colors and dashes of the modules.

    A few modules have a color each. More of them share a scale from light to dark in the order
    of their layers, and each kind of module has its own dashes.
    """
    import matplotlib

    if len(paths) <= len(COLORS):
        return {path: {"color": color} for path, color in zip(paths, COLORS, strict=False)}
    by_kind: dict[str, list[str]] = {}
    for path in paths:
        by_kind.setdefault(kind_of(path), []).append(path)
    scale = matplotlib.colormaps["viridis_r"]
    looks = {}
    for dash, kin in zip(cycle(_DASHES), by_kind.values(), strict=False):
        for number, path in enumerate(kin):
            # The scale's first eighth is too light for a line on white, its last third too dark
            # for one on black.
            depth = 0.12 + 0.54 * number / max(1, len(kin) - 1)
            looks[path] = {"color": scale(depth), "linestyle": dash}
    return looks


def _in_legend(norms: Mapping[str, Sequence[float]], names: Mapping[str, str]) -> dict[str, str]:
    """The modules that the legend shows, by path, in the order in which their lines end."""
    if len(norms) <= LONGEST_LEGEND:
        ordered = sorted(norms, key=lambda path: norms[path][-1], reverse=True)
        return {path: names[path] for path in ordered}
    kinds = [kind_of(path) for path in norms]
    return {
        path: f"{kind_of(path)} (one of {kinds.count(kind_of(path))},\ndarker is deeper)"
        for path in dict(zip(kinds, norms, strict=True)).values()
    }

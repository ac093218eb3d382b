"""The plots of several runs over each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from ultraedit.report.comparison import Compared
from ultraedit.report.curve_plot import from_zero
from ultraedit.report.figures import COLOURS, FEW_TURNS, Drawing, shorten, sketch
from ultraedit.report.formats import byte_power, byte_unit
from ultraedit.report.scores import METRICS, label

_DASHES = ("-", "--", ":", "-.")
"""A second way to tell lines apart, and the only one where there are more lines than colours."""

Line = list[tuple[float, float]]
"""Edits made, and a value."""


def draw_overlay(runs: Sequence[Compared]) -> Drawing:
    """Draw the teacher-forced scores of all runs, and the perplexity where any run has it.

    Args:
        runs: Those that can be compared.
    """
    metrics = [name for name in METRICS if any(_scores(each, name) for each in runs)]
    read = any(_scores(each, "perplexity") for each in runs)
    panels = len(metrics) + read
    rows = max(1, -(-panels // 2))

    def paint(figure: Any) -> None:
        axes = list(figure.subplots(rows, 2, squeeze=False).flat)
        for spare in axes[max(1, panels) :]:
            spare.set_visible(False)
        for panel, name in zip(axes, metrics, strict=False):
            _lines(panel, [[(x, 100 * y) for x, y in _scores(each, name)] for each in runs])
            panel.set_title(f"{label(name).capitalize()}, teacher-forced, %")
            panel.set_ylim(0, 105)
        if read:
            lines = [_scores(each, "perplexity") for each in runs]
            _lines(axes[len(metrics)], lines)
            axes[len(metrics)].set_title("Perplexity on the text")
            from_zero(axes[len(metrics)], [y for line in lines for _, y in line])
        _legend(figure, runs)

    return sketch(9.0, 0.8 + 2.8 * rows, paint)


def draw_costs(runs: Sequence[Compared]) -> Drawing:
    """Draw what 100 edits took in each turn, and the peak memory up to its end."""
    power = byte_power(max((each.figures.peak_memory_bytes for each in runs), default=0))

    def paint(figure: Any) -> None:
        time, memory = figure.subplots(1, 2)
        for panel, lines, title in (
            (time, [_seconds(each) for each in runs], "Seconds for 100 edits"),
            (
                memory,
                [[(x, y / 1024**power) for x, y in _memory(each)] for each in runs],
                f"Peak memory ({byte_unit(power)})",
            ),
        ):
            _lines(panel, lines)
            panel.set_title(title)
            from_zero(panel, [y for line in lines for _, y in line] or [1.0])
        _legend(figure, runs)

    return sketch(9.0, 3.8, paint)


def _scores(each: Compared, name: str) -> Line:
    """A score from the unedited model to the last checkpoint; empty where it was not measured."""
    before, after = (each.run.summary[side].get(name) for side in ("before", "after"))
    points = [(point.edits, point.scores.get(name)) for point in each.run.history.points]
    if not points:
        points = [(each.figures.edits, after)]
    return [(float(x), y) for x, y in [(0, before), *points] if y is not None]


def _seconds(each: Compared) -> Line:
    history = each.run.history
    made = accumulate(history.edits)
    turns = zip(made, history.edits, history.seconds, strict=True)
    return [(x, 100 * seconds / edits) for x, edits, seconds in turns if edits > 0]


def _memory(each: Compared) -> Line:
    history = each.run.history
    return list(zip(accumulate(map(float, history.edits)), history.memory_bytes, strict=True))


def _lines(panel: Any, lines: Sequence[Line]) -> None:
    for line, look in zip(lines, _looks(), strict=False):
        if line:
            marker = "o" if len(line) <= FEW_TURNS else ""
            panel.plot(*zip(*line, strict=True), marker=marker, markersize=3, **look)
    panel.set_xlabel("edits made")
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _legend(figure: Any, runs: Sequence[Compared]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **look) for look, _ in zip(_looks(), runs, strict=False)]
    names = [shorten(each.name) for each in runs]
    figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 3))


def _looks() -> Iterator[dict[str, Any]]:
    """Different looks without end."""
    number = 0
    while True:
        dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
        yield {"color": COLOURS[number % len(COLOURS)], "linestyle": dash, "linewidth": 1.4}
        number += 1

"""The plot of the scores over the edits made, at every checkpoint of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from ultraedit.report.figures import COLOURS, FEW_TURNS, Drawing, sketch
from ultraedit.report.formats import format_count
from ultraedit.report.reading import Point
from ultraedit.report.scores import METRICS, label

WIDE = 20
"""The axis is logarithmic if the last checkpoint has so many times the edits of the first."""


def draw_curves(points: Sequence[Point]) -> Drawing:
    """Draw the scores of all edits so far, or of the sample, and of the newest edits.

    Args:
        points: The checkpoints after a turn, at least two, by the number of edits made.
    """
    newest = any(point.newest is not None for point in points)
    read = any(point.scores.get("perplexity") is not None for point in points)

    def paint(figure: Any) -> None:
        panels = figure.subplots(1, 1 + newest + read, squeeze=False)[0]
        _panel(panels[0], points, [point.scores for point in points])
        panels[0].set_title(f"{whom(points)}, %")
        if newest:
            _panel(panels[1], points, [point.newest or {} for point in points])
            panels[1].set_title(f"The newest {points[-1].newest_edits:,}, %")
        for panel in panels[: 1 + newest]:
            panel.set_ylim(0, 105)
        if read:
            _perplexity(panels[-1], points)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))

    return sketch(9.0 + 2.5 * (newest and read), 3.8, paint)


def whom(points: Sequence[Point]) -> str:
    """Whose scores these are, as a title."""
    last = points[-1]
    if last.scored == last.made:
        return "All edits so far"
    return f"A sample of {format_count(last.scored, 'edit')}"


def _panel(panel: Any, points: Sequence[Point], scores: Sequence[dict[str, Any]]) -> None:
    marker = "o" if len(points) <= FEW_TURNS else ""
    for name, colour in zip(METRICS, cycle(COLOURS), strict=False):
        there = [
            (point.edits, 100 * found[name])
            for point, found in zip(points, scores, strict=True)
            if found.get(name) is not None
        ]
        if there:
            edits, values = zip(*there, strict=True)
            panel.plot(
                edits,
                values,
                color=colour,
                linewidth=1.4,
                marker=marker,
                markersize=3,
                label=label(name),
            )
    over_edits(panel, [point.edits for point in points])


def _perplexity(panel: Any, points: Sequence[Point]) -> None:
    there = [
        (point.edits, point.scores["perplexity"])
        for point in points
        if point.scores.get("perplexity") is not None
    ]
    marker = "o" if len(there) <= FEW_TURNS else ""
    edits, values = zip(*there, strict=True)
    panel.plot(edits, values, color=COLOURS[4], linewidth=1.4, marker=marker, markersize=3)
    panel.set_title("Perplexity on the text")
    from_zero(panel, values)
    over_edits(panel, edits)


def from_zero(panel: Any, values: Sequence[float]) -> None:
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


def over_edits(panel: Any, edits: Sequence[int]) -> None:
    """The axis of the edits made, logarithmic if they are far apart."""
    panel.set_xlabel("edits made")
    if edits[-1] >= WIDE * max(1, edits[0]):
        panel.set_xscale("log")
    else:
        panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")

"""The plot of the scores over the edits made, at every checkpoint of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ultraedit.report.figures import COLOURS, FEW_TURNS, draw
from ultraedit.report.formats import format_count
from ultraedit.report.reading import Point
from ultraedit.report.scores import METRICS

WIDE = 20
"""The axis is logarithmic if the last checkpoint has so many times the edits of the first."""


def draw_curves(points: Sequence[Point]) -> bytes:
    """Draw the scores of all edits so far, or of the sample, and of the newest edits.

    Args:
        points: The checkpoints after a turn, at least two, by the number of edits made.
    """

    def paint(figure: Any) -> None:
        newest = any(point.newest is not None for point in points)
        panels = figure.subplots(1, 1 + newest, sharey=True, squeeze=False)[0]
        _panel(panels[0], points, [point.scores for point in points])
        panels[0].set_title(f"{whom(points)}, %")
        if newest:
            _panel(panels[1], points, [point.newest or {} for point in points])
            panels[1].set_title(f"The newest {points[-1].newest_edits:,}, %")
        panels[0].set_ylim(0, 105)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))

    return draw(9.0, 3.8, paint)


def whom(points: Sequence[Point]) -> str:
    """Whose scores these are, as a title."""
    last = points[-1]
    if last.scored == last.made:
        return "All edits so far"
    return f"A sample of {format_count(last.scored, 'edit')}"


def _panel(panel: Any, points: Sequence[Point], scores: Sequence[dict[str, Any]]) -> None:
    marker = "o" if len(points) <= FEW_TURNS else ""
    for name, colour in zip(METRICS, COLOURS, strict=False):
        there = [
            (point.edits, 100 * found[name])
            for point, found in zip(points, scores, strict=True)
            if found.get(name) is not None
        ]
        if there:
            edits, values = zip(*there, strict=True)
            panel.plot(
                edits, values, color=colour, linewidth=1.4, marker=marker, markersize=3, label=name
            )
    panel.set_xlabel("edits made")
    if points[-1].edits >= WIDE * max(1, points[0].edits):
        panel.set_xscale("log")
    else:
        panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")

"""The plots of what a run reached and what it cost."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from ultraedit.report.figures import (
    AFTER,
    BEFORE,
    COLOURS,
    FEW_TURNS,
    INK,
    Drawing,
    mark_turns,
    shorten,
    sketch,
)
from ultraedit.report.formats import byte_power, byte_unit, format_number, format_percent
from ultraedit.report.reading import History
from ultraedit.report.scores import ScoreRow

WIDEST = 10
"""Up to so many pairs of bars stand in one row; more of them lie, or the letters get too small."""

_THICK = 0.38
"""Of a bar, where a pair has 1."""

Pair = tuple[str, float | None, float | None]
"""A name, and a score before and after."""


def draw_metrics(rows: Sequence[ScoreRow]) -> Drawing:
    """Draw the scores before and after as pairs of bars, forced and free side by side.

    Args:
        rows: The scores. What was not measured at all has no bars.
    """
    forced = [(row.name, row.forced_before, row.forced_after) for row in rows if row.forced]
    free = [(row.name, row.generated_before, row.generated_after) for row in rows if row.generated]
    panels = [("Free answers, exact match, %", free), ("Teacher-forced token accuracy, %", forced)]
    panels = [panel for panel in panels if panel[1]] or panels[1:]
    counts = [max(1, len(groups)) for _, groups in panels]
    upright = sum(counts) <= WIDEST

    def paint(figure: Any) -> None:
        widths = counts if upright else None
        axes = figure.subplots(1, len(panels), sharey=upright, width_ratios=widths, squeeze=False)
        for panel, (title, groups) in zip(axes.flat, panels, strict=True):
            (_standing if upright else _lying)(panel, groups)
            panel.set_title(title)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)

    if upright:
        return sketch(max(5.0, 1.0 + 1.15 * sum(counts)), 4.0, paint)
    return sketch(4.5 * len(panels), 1.2 + 0.42 * max(counts), paint)


def _standing(panel: Any, groups: Sequence[Pair]) -> None:
    """Pairs of bars that stand, their names below."""
    for label, colour, shift, scores in _sides(groups):
        places = [place + shift * _THICK for place in range(len(groups))]
        bars = panel.bar(places, list(map(_height, scores)), _THICK, color=colour, label=label)
        panel.bar_label(bars, list(map(_written, scores)), padding=2, fontsize=8)
    names = [textwrap.fill(shorten(name), 14) for name, *_ in groups]
    panel.set_xticks(range(len(groups)), names)
    panel.tick_params(axis="x", length=0)
    panel.set_xlim(-0.6, len(groups) - 0.4)
    panel.set_ylim(0, 108)
    panel.set_yticks(range(0, 101, 20))


def _lying(panel: Any, groups: Sequence[Pair]) -> None:
    """Pairs of bars that lie one below the other, their names beside them."""
    for label, colour, shift, scores in _sides(groups):
        places = [place + shift * _THICK for place in range(len(groups))]
        bars = panel.barh(places, list(map(_height, scores)), _THICK, color=colour, label=label)
        panel.bar_label(bars, list(map(_written, scores)), padding=2, fontsize=7.5)
    panel.set_yticks(range(len(groups)), [shorten(name) for name, *_ in groups])
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(len(groups) - 0.4, -0.6)
    panel.set_xlim(0, 115)
    panel.set_xticks(range(0, 101, 20))
    panel.grid(visible=False, axis="y")
    panel.grid(visible=True, axis="x")


def _sides(
    groups: Sequence[Pair],
) -> Iterator[tuple[str, str, float, list[float | None]]]:
    """Before and after: the label, the colour, where the bar is within its pair, the scores."""
    yield "before", BEFORE, -0.5, [before for _, before, _ in groups]
    yield "after", AFTER, 0.5, [after for _, _, after in groups]


def _height(score: float | None) -> float:
    return 100 * (score or 0)


def _written(score: float | None) -> str:
    return format_percent(score).removesuffix("%")


def draw_speed_and_memory(history: History) -> Drawing:
    """Draw the speed of each turn, and the peak memory up to its end."""
    power = byte_power(max(history.memory_bytes, default=0))
    memory = [count / 1024**power for count in history.memory_bytes]

    def paint(figure: Any) -> None:
        speed_panel, memory_panel = figure.subplots(1, 2)
        _over_turns(speed_panel, history.turns, history.edits_per_second, COLOURS[0])
        _median(speed_panel, history.edits_per_second)
        speed_panel.set_title("Edits per second")
        _over_turns(memory_panel, history.turns, memory, COLOURS[2])
        memory_panel.set_title(f"Peak memory ({byte_unit(power)})")

    return sketch(9.0, 3.4, paint)


def _over_turns(panel: Any, turns: Sequence[int], values: Sequence[float], colour: str) -> None:
    """One number a turn, from zero: bars while they can be told apart, a line beyond."""
    if len(turns) <= FEW_TURNS:
        bars = panel.bar(turns, values, 0.6, color=colour)
        if len(turns) <= 6:
            panel.bar_label(bars, [format_number(value) for value in values], padding=2)
        middle = (turns[0] + turns[-1]) / 2 if turns else 1.0
        half = max(1.5, len(turns) / 2)
        panel.set_xlim(middle - half - 0.1, middle + half + 0.1)
    else:
        panel.plot(turns, values, color=colour, linewidth=1.2)
    mark_turns(panel, turns)
    panel.set_ylim(0, 1.12 * max((value for value in values if value > 0), default=1.0))


def _median(panel: Any, values: Sequence[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) > FEW_TURNS:
        middle = statistics.median(finite)
        label = f"median {format_number(middle)}"
        panel.axhline(middle, color=INK, linestyle="--", linewidth=1, label=label)
        panel.legend(loc="lower right")

"""The plots of what a run reached and what it cost."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
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
"""Up to so many pairs of bars stand in one row."""


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
    # Wider than a page the letters get too small to read.
    beside = sum(counts) <= WIDEST
    columns = sum(counts) if beside else max(counts)

    def paint(figure: Any) -> None:
        if beside:
            axes = figure.subplots(1, len(panels), sharey=True, width_ratios=counts, squeeze=False)
        else:
            axes = figure.subplots(len(panels), 1, squeeze=False)
        for panel, (title, groups) in zip(axes.flat, panels, strict=True):
            _pairs_of_bars(panel, groups)
            panel.set_title(title)
            panel.set_xlim(-0.6, (len(groups) if beside else columns) - 0.4)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)

    return sketch(max(5.0, 1.0 + 1.15 * columns), 4.0 if beside else 3.2 * len(panels), paint)


def _pairs_of_bars(panel: Any, groups: Sequence[tuple[str, float | None, float | None]]) -> None:
    width = 0.38
    sides = (
        ("before", BEFORE, -0.5, [before for _, before, _ in groups]),
        ("after", AFTER, 0.5, [after for _, _, after in groups]),
    )
    for label, colour, shift, scores in sides:
        places = [place + shift * width for place in range(len(groups))]
        heights = [100 * (score or 0) for score in scores]
        bars = panel.bar(places, heights, width, color=colour, label=label)
        texts = [format_percent(score).removesuffix("%") for score in scores]
        panel.bar_label(bars, texts, padding=2, fontsize=8)
    names = [textwrap.fill(shorten(name), 14) for name, *_ in groups]
    panel.set_xticks(range(len(groups)), names)
    panel.tick_params(axis="x", length=0)
    panel.set_ylim(0, 108)
    panel.set_yticks(range(0, 101, 20))


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

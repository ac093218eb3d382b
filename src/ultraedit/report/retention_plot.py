"""The plot of how well edits hold: a heat map by turn, and the forgetting curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ultraedit.evaluation.metrics.retention import Aged, Retention, forgetting_curve
from ultraedit.report.figures import COLOURS, FEW_TURNS, Drawing, sketch

MOST_ROWS = 200
"""Up to so many turns each has a row in the heat map; of more of them, neighbours share one."""


def draw_retention(matrix: Retention) -> Drawing:
    """Draw the scores by the turn of the edit and of the evaluation, and by age.

    Args:
        matrix: The scores, as fractions. At least one evaluation after a turn.
    """

    def paint(figure: Any) -> None:
        heat, curve = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
        _heat_map(figure, heat, matrix)
        _curve(curve, forgetting_curve(matrix))

    return sketch(9.0, 3.8, paint)


def shared_rows(matrix: Retention, most: int = MOST_ROWS) -> list[list[float]]:
    """Average neighbouring turns of edits until there are at most so many rows.

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


def _curve(panel: Any, curve: Sequence[Aged]) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(curve) <= FEW_TURNS else ""
    ages = [point.age for point in curve]
    scores = [100 * point.score for point in curve]
    panel.plot(ages, scores, color=COLOURS[0], linewidth=1.4, marker=marker, markersize=3.5)
    panel.set_title("Efficacy by age, %")
    panel.set_xlabel("turns since the edit")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_ylim(0, 105)

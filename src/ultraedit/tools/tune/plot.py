"""The plot of a search: what each candidate writes, against what it leaves as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ultraedit.core.files import write_bytes
from ultraedit.report.figures import AFTER, BEFORE, COLORS, draw
from ultraedit.tools.tune.outcome import TuneOutcome, front, on_most_rows
from ultraedit.tools.tune.trials import Trial


def write_plot(path: Path, outcome: TuneOutcome) -> None:
    """Draw the Pareto front of a search into a PNG.

    Raises:
        StorageError: If it cannot be written.
    """
    write_bytes(path, draw_front(outcome))


def draw_front(outcome: TuneOutcome) -> bytes:
    """Draw all trials, those of the last round with their front, and the best of them."""
    last = on_most_rows(outcome.trials)
    earlier = [trial for trial in outcome.trials if trial not in last]

    def paint(figure: Any) -> None:
        panel = figure.subplots()
        _levels(panel)
        if earlier:
            _dots(panel, earlier, BEFORE, f"rounds of fewer than {last[0].rows} rows", 14)
        _dots(panel, last, AFTER, f"on {last[0].rows} rows", 26)
        edge = front(last)
        panel.plot(
            [100 * t.agreement for t in edge],
            [100 * t.written for t in edge],
            color=AFTER,
            label="Pareto front",
        )
        _dots(panel, [outcome.best], COLORS[4], "chosen", 90, marker="*")
        panel.set_xlim(0, 100)
        panel.set_ylim(0, 100)
        panel.set_xlabel("agreement with the unedited model, %")
        panel.set_ylabel("written: mean of efficacy and generalization, %")
        panel.set_title("What candidates write and what they leave")
        figure.legend(loc="outside lower center", ncols=2)

    return draw(6.0, 5.2, paint)


def _dots(
    panel: Any, trials: Sequence[Trial], color: str, label: str, size: int, marker: str = "o"
) -> None:
    panel.scatter(
        [100 * trial.agreement for trial in trials],
        [100 * trial.written for trial in trials],
        s=size,
        c=color,
        label=label,
        marker=marker,
        zorder=3,
    )


def _levels(panel: Any) -> None:
    """Lines along which the score is the same, where the data has rephrases.

    The score of efficacy, generalization and agreement a is ``3 / (2 / w + 1 / a)`` with their
    harmonic mean w of the first two.
    """
    import numpy as np

    agreement = np.linspace(0.01, 1.0, 200)
    across, up = np.meshgrid(agreement, agreement)
    score = 300 / (2 / up + 1 / across)
    lines = panel.contour(
        100 * across,
        100 * up,
        score,
        levels=[10 * level for level in range(1, 10)],
        colors="#CCCCCC",
        linewidths=0.7,
    )
    panel.clabel(lines, fmt="%d", fontsize=7, colors="#999999")

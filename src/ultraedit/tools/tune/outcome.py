"""What a search came to: the best candidate, and those that are better in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ultraedit.tools.tune.trials import Trial


@dataclass(frozen=True)
class TuneOutcome:
    """A finished or interrupted search."""

    best: Trial
    """By score on the tuning rows, among those tried on the most rows."""

    trials: tuple[Trial, ...]

    held_out: Trial | None
    """The best candidate on rows that nothing was chosen by. None where there was no time."""

    start: Trial | None
    """What the model gets without tuning, on the same held-out rows."""

    interrupted: bool = False
    """Whether Ctrl-C ended it."""


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest score among those on the most rows; the first of equals."""
    return max(on_most_rows(trials), key=lambda trial: trial.score)


def on_most_rows(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that can be compared with the best: those of the last round that was reached."""
    most = max(trial.rows for trial in trials)
    return [trial for trial in trials if trial.rows == most]


def front(trials: Sequence[Trial]) -> list[Trial]:
    """The Pareto front: no other trial writes better and agrees better.

    Args:
        trials: Trials on the same rows.

    Returns:
        Those that no other beats, from the most agreeing to the best writing.
    """
    undominated: list[Trial] = []
    for trial in sorted(trials, key=lambda each: (-each.agreement, -each.written)):
        if not undominated or trial.written > undominated[-1].written:
            undominated.append(trial)
    return undominated

"""Intervals of scores: how far a mean would move with other facts of the same kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end, as fractions."""

Counted: TypeAlias = tuple[float, float]
"""What one fact adds to a score: its sum, and how many values are in it."""

RESAMPLES = 1_000
"""How often the facts are drawn."""

CONFIDENCE = 0.95


def bootstrap(counted: Sequence[Counted], *, seed: int = 0) -> Interval | None:
    """Percentile bootstrap interval of ``sum of sums / sum of counts``, over facts.

    Facts are drawn with replacement, each with all of its questions, so that questions of one fact
    do not count as independent (Efron and Tibshirani 1993, section 13.3).

    Args:
        counted: Sum and count of each fact.
        seed: Of the draws.

    Returns:
        The interval; None where there are fewer than two facts with a value.
    """
    values = np.array([each for each in counted if each[1]], dtype=np.float64)
    if len(values) < 2:
        return None
    draws = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        total, count = values[draws.integers(len(values), size=len(values))].sum(axis=0)
        means[place] = total / count
    low, high = np.quantile(means, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def intervals(counted: Mapping[str, Sequence[Counted]]) -> dict[str, Interval]:
    """Intervals by name of a score, those that there are."""
    bootstrapped = {name: bootstrap(each) for name, each in counted.items()}
    return {name: interval for name, interval in bootstrapped.items() if interval is not None}

"""Successive halving within a time budget: many candidates on few rows, few on all of them.

Jamieson and Talwalkar (2016), https://arxiv.org/abs/1502.07943, with arms that grow: all sets of
modules at the step that ``eta="auto"`` finds; the better half of them at several steps; the best
of these on all rows; then the neighbors of the best for as long as there is time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ultraedit.core.errors import NumericalError
from ultraedit.tools.tune.space import STEPS, Candidate, neighbors
from ultraedit.tools.tune.trials import Trial

LEAST_ROWS = 20
"""Fewer rows than this tell candidates apart by luck alone."""

FINALISTS = 5
"""Candidates that are tried on all rows before the neighbors of the best."""

Try = Callable[[Candidate, int], Trial]


class Rungs(NamedTuple):
    """How many rows each round has."""

    first: int
    second: int
    last: int

    @classmethod
    def of(cls, rows: int) -> Rungs:
        """A quarter, a half and all of the rows."""
        least = min(rows, LEAST_ROWS)
        return cls(max(least, rows // 4), max(least, rows // 2), rows)


class Clock:
    """Says whether there is time for another trial, from what the ones before have taken."""

    def __init__(
        self,
        deadline: float | None,
        reserved: int = 0,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin.

        Args:
            deadline: When all has to be over. None for no limit.
            reserved: Rows of trials that are to follow the search.
            now: The clock.
        """
        self._deadline = deadline
        self._reserved = reserved
        self._now = now
        self._per_row = 0.0

    def note(self, rows: int, seconds: float) -> None:
        """Learn from a trial; what it computed for later ones counts less from trial to trial."""
        self._per_row = max(seconds / rows, 0.7 * self._per_row)

    def has_time_for(self, rows: int) -> bool:
        """Whether a trial of so many rows would end in time."""
        return self._left() >= self._per_row * rows

    def affordable(self, rows: int, share: float) -> float:
        """How many trials of so many rows fit into a share of the time that is left."""
        return share * max(0.0, self._left()) / max(self._per_row * rows, 1e-9)

    def _left(self) -> float:
        if self._deadline is None:
            return math.inf
        return self._deadline - self._now() - self._per_row * self._reserved


def search(
    sets: Sequence[tuple[str, ...]],
    attempt: Try,
    rungs: Rungs,
    *,
    deadline: float | None = None,
    reserved: int = 0,
    trials: list[Trial] | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> list[Trial]:
    """Try candidates until the time is up or the neighbors of the best are exhausted.

    Args:
        sets: Sets of modules, the likeliest first.
        attempt: Tries a candidate on so many rows. One whose update is not finite is left out.
        rungs: How many rows each round has.
        deadline: When all has to be over, on the clock `now`. None for no limit.
        reserved: Rows of trials that are to follow the search, before the deadline too.
        trials: Filled in as trials end, so that an interrupted search leaves what it has found.
        now: The clock.

    Returns:
        All trials, in their order.
    """
    done: list[Trial] = [] if trials is None else trials
    clock = Clock(deadline, reserved, now)

    def round_of(candidates: Sequence[Candidate], rows: int) -> list[Trial]:
        of_round = []
        for candidate in candidates:
            earlier = next((t for t in done if (t.candidate, t.rows) == (candidate, rows)), None)
            if earlier is None:
                # The first trial is made whatever it takes: without any there is no result.
                if done and not clock.has_time_for(rows):
                    break
                begun = now()
                try:
                    earlier = attempt(candidate, rows)
                except NumericalError:
                    continue
                done.append(earlier)
                clock.note(earlier.rows, now() - begun)
            of_round.append(earlier)
        return sorted(of_round, key=lambda trial: -trial.score)

    screened = round_of([Candidate(tuple(each)) for each in sets], rungs.first)
    kept = _kept(len(screened) / 2, clock.affordable(rungs.second, 0.5) / len(STEPS))
    stepped = round_of(
        [trial.candidate._replace(step=step) for trial in screened[:kept] for step in STEPS],
        rungs.second,
    )
    kept = _kept(FINALISTS, clock.affordable(rungs.last, 0.7))
    round_of([trial.candidate for trial in stepped[:kept]], rungs.last)
    while last := [trial for trial in done if trial.rows == rungs.last]:
        best = max(last, key=lambda trial: trial.score)
        tried = {trial.candidate for trial in last}
        fresh = next((each for each in neighbors(best.candidate) if each not in tried), None)
        if fresh is None or not round_of([fresh], rungs.last):
            break
    return done


def _kept(wanted: float, affordable: float) -> int:
    """How many candidates go on: as many as there is time for, and one at least."""
    return max(1, math.ceil(min(wanted, affordable)))

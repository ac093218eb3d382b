"""Questions of the same kind that are never edited: how much of the gain is generic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ultraedit import data
from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit
from ultraedit.evaluation.metrics import ALONE, METRICS
from ultraedit.evaluation.outcome import Reference
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost

SEARCHED = 20
"""How many times as many rows are looked through for questions that are not edited."""


class Control:
    """Scores of edits that are never made, teacher-forced."""

    name = "control"

    def __init__(self, host: ModelHost, edits: Sequence[Edit]) -> None:
        self._host = host
        self._edits = edits

    def measure(self) -> dict[str, Any]:
        """Metrics of the facts themselves as fractions, ``edits`` their number."""
        scores = evaluate(
            self._host, self._edits, reference=Reference(), free_answers=0, keep=False
        ).scores
        measured = {name: scores[name] for name in ALONE if METRICS[name].of_fact}
        return measured | {"edits": len(self._edits)}


def control_edits(spec: str, edited: Sequence[str], done: int, count: int, seed: int) -> list[Edit]:
    """The first rows behind the edited ones whose prompts are not edited.

    Args:
        spec: The file of the run.
        edited: Prompts of the run's edits.
        done: Rows of the file that the run edits.
        count: How many to take.
        seed: The run's.

    Raises:
        DataError: If the file has not so many.
    """
    known = set(edited)

    def fresh() -> Iterator[Edit]:
        limit = done + SEARCHED * count
        for edit in data.stream(spec, limit=limit, seed=seed, skip=done):
            if edit.prompt not in known:
                known.add(edit.prompt)
                yield edit

    controls = list(islice(fresh(), count))
    if len(controls) < count:
        raise DataError(
            f"Behind the {done:,} rows that this run edits, {spec} has {len(controls):,} that it "
            f"does not, and --control asks for {count:,}. Lower --limit or --control."
        )
    return controls

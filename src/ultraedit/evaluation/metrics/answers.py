"""One question answered, in the two ways of asking: what a metric is computed from."""

from __future__ import annotations

from typing import NamedTuple

from ultraedit.core.types import Answer
from ultraedit.evaluation.metrics.exact_match import exact_match
from ultraedit.evaluation.metrics.tokens import token_accuracy
from ultraedit.evaluation.question import AskedQuestion


class Forced(NamedTuple):
    """One question answered under teacher forcing."""

    asked: AskedQuestion
    predicted: tuple[int, ...]
    """The model's top choice at each answer token."""

    answer: tuple[int, ...]
    """The answer tokens that it was forced along: the gold ones, or the unedited model's own."""

    unedited: tuple[int, ...] | None = None
    """The unedited model's top choice at each of them; None where it was not asked."""

    @property
    def has_gold(self) -> bool:
        """Whether the question has a gold answer."""
        return self.asked.target is not None

    @property
    def score(self) -> float:
        """Share of the tokens, or whether all of them, were its top choice."""
        accuracy = token_accuracy(self.predicted, self.answer)
        return float(accuracy == 1) if self.asked.statement else accuracy


class Free(NamedTuple):
    """One question answered in free generation (greedy decoding)."""

    asked: AskedQuestion
    answer: Answer
    begins: bool
    stops: bool
    compared: bool = True
    """Whether the unedited model was asked the same. It was not where a checkpoint on the way asks
    other edits in free generation than the run does before and after."""

    @property
    def has_gold(self) -> bool:
        """Whether the question has a gold answer."""
        return self.asked.target is not None

    @property
    def score(self) -> bool:
        """Whether it is an exact match; of a statement, whether it is ended so."""
        return self.begins if self.asked.statement else self.answer.correct


def agrees(after: str, before: str) -> bool:
    """Whether two generated answers are the same, or would be scored as the same."""
    return after == before or exact_match(after, [before])

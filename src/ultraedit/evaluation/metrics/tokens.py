"""Teacher-forced scores: the model reads the gold answer and is asked for each next token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def token_accuracy(predicted: Sequence[int], answer: Sequence[int]) -> float:
    """Fraction of the answer's tokens that were the model's top choice, as the paper scores.

    Args:
        predicted: The model's top choice at each supervised position.
        answer: The gold token at each of them, at least one.
    """
    hits = sum(p == a for p, a in zip(predicted, answer, strict=True))
    return hits / len(answer)


def token_agreement(
    predicted: Iterable[Sequence[int]], reference: Iterable[Sequence[int]]
) -> float | None:
    """Share of all tokens where two models make the same top choice; None without any token."""
    same = total = 0
    for ours, theirs in zip(predicted, reference, strict=True):
        same += sum(a == b for a, b in zip(ours, theirs, strict=True))
        total += len(theirs)
    return same / total if total else None


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean, None of nothing: a data set without such questions has no such score."""
    values = list(values)
    return sum(values) / len(values) if values else None

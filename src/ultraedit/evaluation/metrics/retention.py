"""How well edits hold: scores by the turn in which an edit was made, and by its age."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ultraedit.evaluation.metrics.tokens import mean


class Scored(NamedTuple):
    """One evaluation, its scores averaged over the edits of each turn."""

    turn: int
    """Turn after which it was taken; 0 is the unedited model."""

    first: int
    """Turn of the first score."""

    scores: Sequence[float | None]
    """One for each turn from there on; None where no edit of a turn has such a question."""


class Retention(NamedTuple):
    """Scores by the turn of the edits and the turn of the evaluation."""

    edited: tuple[int, ...]
    """Turns whose edits were scored, ascending: the rows."""

    evaluated: tuple[int, ...]
    """Turns after which they were scored, ascending: the columns."""

    scores: tuple[tuple[float | None, ...], ...]
    """None where the edits of a turn were not scored. Shape (edited, evaluated)."""


class Aged(NamedTuple):
    """The scores of all edits of one age."""

    age: int
    """Turns made since theirs; 0 is right after it."""

    score: float
    turns: int
    """How many pairs of turns the score is the mean of."""


def turn_means(
    scores: Sequence[float | None], places: Sequence[int], edits_per_turn: int
) -> tuple[float | None, ...]:
    """Average the scores of single edits over their turns.

    Args:
        scores: One score per edit, in the order in which they were made; None for an edit
            without such a question.
        places: Where each of them stands among all edits, from 0, ascending.
        edits_per_turn: Size of every turn but perhaps the last.

    Returns:
        One mean per turn up to that of the last score; None for a turn without a score.
    """
    count = places[len(scores) - 1] // edits_per_turn + 1 if scores else 0
    by_turn: list[list[float]] = [[] for _ in range(count)]
    for score, place in zip(scores, places, strict=False):
        if score is not None:
            by_turn[place // edits_per_turn].append(score)
    return tuple(mean(each) for each in by_turn)


def retention(evaluations: Iterable[Scored]) -> Retention:
    """Lay evaluations out as a matrix. Of two after the same turn the later one counts."""
    cells: dict[tuple[int, int], float | None] = {}
    for turn, first, scores in evaluations:
        cells.update(((number, turn), score) for number, score in enumerate(scores, start=first))
    edited = tuple(sorted({number for number, _ in cells}))
    evaluated = tuple(sorted({turn for _, turn in cells}))
    rows = tuple(tuple(cells.get((number, turn)) for turn in evaluated) for number in edited)
    return Retention(edited, evaluated, rows)


def forgetting_curve(matrix: Retention) -> list[Aged]:
    """Average the scores of all edits of the same age, youngest first.

    What was scored before it was edited has no age and is left out.
    """
    by_age: dict[int, list[float]] = {}
    for number, row in zip(matrix.edited, matrix.scores, strict=True):
        for turn, score in zip(matrix.evaluated, row, strict=True):
            if score is not None and turn >= number:
                by_age.setdefault(turn - number, []).append(score)
    return [
        Aged(age, sum(by_age[age]) / len(by_age[age]), len(by_age[age])) for age in sorted(by_age)
    ]

"""Choose the edits that went best and worst, and some by lot, in two readings of the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.types import Answer
from ultraedit.report.reading import read_answers

_OWN = "efficacy"
"""The kind of an edit's own question."""


class Case(NamedTuple):
    """One edit and how it went."""

    answer: Answer
    """What the model says to the edited prompt."""
    right: int
    """How many of all questions about the edit are answered right."""
    asked: int


class Cases(NamedTuple):
    """Edits to look at. Best and worst share none."""

    best: list[Case]
    worst: list[Case]
    drawn: list[Case]


@dataclass
class _Count:
    """What is kept of an edit in the first reading."""

    right: int = 0
    asked: int = 0
    took: bool = False
    """Whether its own question is answered right."""
    new: bool = False
    """Whether the unedited model answered it otherwise."""

    def add(self, answer: Answer) -> None:
        self.asked += 1
        self.right += answer.correct
        if answer.kind == _OWN:
            self.took = answer.correct
            self.new = answer.before.strip() != answer.after.strip()


def choose_cases(folder: Path, count: int) -> Cases:
    """Choose edits of a run by how their questions were answered freely.

    Args:
        folder: A finished run folder.
        count: How many of each sort. A run with fewer than twice as many edits has half of them
            among the best and the others among the worst.

    Raises:
        ConfigError: If the folder holds no finished run.
    """
    counts: dict[str, _Count] = {}
    own = set()
    for answer in read_answers(folder):
        counts.setdefault(answer.edit_id, _Count()).add(answer)
        if answer.kind == _OWN:
            own.add(answer.edit_id)
    ranked = sorted(own, key=lambda name: _rank(counts[name], name))
    best = ranked[: min(count, -(-len(ranked) // 2))]
    worst = ranked[len(best) :][::-1][:count]
    drawn = sorted(ranked, key=_lot)[:count]
    shown = _own_answers(folder, {*best, *worst, *drawn})

    def cases(names: Iterable[str]) -> list[Case]:
        return [Case(shown[name], counts[name].right, counts[name].asked) for name in names]

    return Cases(cases(best), cases(worst), cases(drawn))


def _rank(count: _Count, name: str) -> tuple[bool, float, bool, str]:
    """The lower, the better an edit went."""
    return not count.took, -count.right / count.asked, not count.new, _lot(name)


def _lot(name: str) -> str:
    """A number that has nothing to do with the edit, the same in every run."""
    return sha256(name.encode()).hexdigest()


def _own_answers(folder: Path, names: set[str]) -> dict[str, Answer]:
    return {
        answer.edit_id: answer
        for answer in read_answers(folder)
        if answer.kind == _OWN and answer.edit_id in names
    }

"""Choose answers to show, always the same ones, in two readings of the file.

A few out of many; and the edits that went best and worst, and some by lot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.types import Answer
from ultraedit.evaluation.question import QUESTIONS
from ultraedit.report.reading import read_answers

Group = tuple[str, int]
"""Kind of an answer, and how much it is wanted: a lower number comes first."""

_KINDS = tuple(QUESTIONS)


def examples(folder: Path, count: int) -> list[Answer]:
    """Choose answers that show what the edits did, for a short table.

    They are chosen to be striking, not to be representative: two edits for each rephrase, each
    unrelated question and each probe. Of every kind come first the right answers that the edits
    made, or, of unrelated questions, left alone; then other right ones; wrong ones only where
    these are too few. All are evenly spaced over the run.

    Args:
        folder: A finished run folder.
        count: How many to choose; fewer if the run has fewer.

    Returns:
        The edits first, then rephrases, unrelated questions and probes.

    Raises:
        ConfigError: If the folder holds no finished run.
    """
    counts = Counter(_by_strength(answer) for answer in _distinct(folder))
    kinds = _kinds(counts)
    cycle = [[(kind, rank) for rank in range(3)] for kind in kinds[:1] + kinds]
    return _take(folder, _by_strength, counts, _share_out(cycle, counts, count))


def sample(folder: Path, count: int) -> list[Answer]:
    """Choose right and wrong answers of every kind in turn, evenly spaced over the run.

    Args:
        folder: A finished run folder.
        count: How many to choose; fewer if the run has fewer.

    Returns:
        The answers by kind, of each kind the right ones first.

    Raises:
        ConfigError: If the folder holds no finished run.
    """
    counts = Counter(_by_verdict(answer) for answer in _distinct(folder))
    cycle = [[(kind, rank)] for kind in _kinds(counts) for rank in range(2)]
    return _take(folder, _by_verdict, counts, _share_out(cycle, counts, count))


def _by_strength(answer: Answer) -> Group:
    changed = answer.after.strip() != answer.before.strip()
    as_hoped = changed != (answer.kind in QUESTIONS and not QUESTIONS[answer.kind].of_fact)
    return answer.kind, 2 if not answer.correct else 0 if as_hoped else 1


def _by_verdict(answer: Answer) -> Group:
    return answer.kind, 0 if answer.correct else 1


def _kinds(groups: Iterable[Group]) -> list[str]:
    """The kinds that occur, the three of the paper first."""
    occurring = list(dict.fromkeys(kind for kind, _ in groups))
    return [kind for kind in _KINDS if kind in occurring] + [
        k for k in occurring if k not in _KINDS
    ]


def _distinct(folder: Path) -> Iterator[Answer]:
    """The answers without repetitions: sets of facts share locality questions."""
    seen = set()
    for answer in read_answers(folder):
        if (answer.kind, answer.prompt) not in seen:
            seen.add((answer.kind, answer.prompt))
            yield answer


def _share_out(
    cycle: Sequence[Sequence[Group]], counts: Counter[Group], total: int
) -> Counter[Group]:
    """Go round the cycle, each place taking one of the first of its groups that has one left."""
    quotas: Counter[Group] = Counter()
    taken = -1
    while taken < quotas.total() < total:
        taken = quotas.total()
        for groups in cycle:
            group = next((group for group in groups if quotas[group] < counts[group]), None)
            if group is not None and quotas.total() < total:
                quotas[group] += 1
    return quotas


def _take(
    folder: Path,
    group_of: Callable[[Answer], Group],
    counts: Counter[Group],
    quotas: Counter[Group],
) -> list[Answer]:
    """The answers of each group that are evenly spaced over it."""
    places = {
        group: {i * counts[group] // quota for i in range(quota)} for group, quota in quotas.items()
    }
    passed: Counter[Group] = Counter()
    chosen = []
    for answer in _distinct(folder):
        group = group_of(answer)
        if passed[group] in places.get(group, ()):
            chosen.append(answer)
        passed[group] += 1
    kinds = _kinds(counts)
    return sorted(chosen, key=lambda answer: (kinds.index(answer.kind), group_of(answer)[1]))


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
    """Choose edits of a run by how their questions were answered in free generation.

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

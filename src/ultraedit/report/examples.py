"""Choose a few answers out of many, always the same ones, in two readings of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

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
    found = list(dict.fromkeys(kind for kind, _ in groups))
    return [kind for kind in _KINDS if kind in found] + [k for k in found if k not in _KINDS]


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

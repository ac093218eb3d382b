"""Questions that follow from a fact whose relation is known: the reverse one, and its negation.

Reverse: an edit that says that S was born in O is asked who was born in O. Weight edits are known
to fail here: Berglund et al. 2023, *The Reversal Curse* (arXiv 2309.12288), for models in general,
and Ma et al. 2023, *Untying the Reversal Curse via Bidirectional Language Model Editing* (arXiv
2310.10322), for edited ones.

Negation: "S was not born in" is continued. That the answer is the one to "S was born in" is the
measure of Kassner and Schütze 2020, *Negated and Misprimed Probes for Pretrained Language Models*
(arXiv 1911.03343), who count equal first predictions; here all tokens of the new answer have to be.
Liu et al. 2025, *Is Model Editing Built on Sand?* (arXiv 2510.00625), find that edited models
give the new answer to negated queries as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ultraedit.data.relations.facts import Fact, fact_of
from ultraedit.evaluation.question import Asked

REVERSE = "reverse"
NEGATED = "negated"
AFFIRMED = "affirmed"


def reverse(asked: Iterable[Asked]) -> Iterator[Asked]:
    """Ask for the subjects. Of two edits with one answer, each other's subject is right too."""
    facts = list(_facts(asked))
    subjects: dict[tuple[str, str], list[str]] = defaultdict(list)
    for _, fact in facts:
        subjects[fact.relation.key, fact.object.casefold()].append(fact.subject)
    for each, fact in facts:
        others = dict.fromkeys(subjects[fact.relation.key, fact.object.casefold()])
        yield Asked(
            f"probe:{REVERSE}",
            each.edit,
            fact.reverse,
            fact.subject,
            tuple(other for other in others if other != fact.subject),
        )


def negation(asked: Iterable[Asked]) -> Iterator[Asked]:
    """Put each fact as a statement without its end, affirmed and negated."""
    for each, fact in _facts(asked):
        for name, statement in ((AFFIRMED, fact.statement), (NEGATED, fact.negated)):
            yield Asked(
                f"probe:{name}",
                each.edit,
                statement,
                each.target,
                each.aliases,
                statement=True,
                unwanted=name == NEGATED,
            )


def _facts(asked: Iterable[Asked]) -> Iterator[tuple[Asked, Fact]]:
    """The edits whose relation is known. Their answers are those that hold now."""
    for each in asked:
        if each.kind == "efficacy" and each.target is not None:
            fact = fact_of(each.edit, each.target)
            if fact is not None:
                yield each, fact

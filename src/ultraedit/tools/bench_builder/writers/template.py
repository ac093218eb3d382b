"""``template``: questions from the wordings of each relation; needs nothing and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from ultraedit.data.relations.questions import SLOT
from ultraedit.tools.bench_builder.checks import Questions, contains
from ultraedit.tools.bench_builder.facts import TripleFact
from ultraedit.tools.bench_builder.pairing import Pair
from ultraedit.tools.bench_builder.writers.base import Estimate, Unwritten


class TemplateQuestionWriter:
    """Draws two of a relation's wordings for the edit and one for the unrelated fact.

    The draw depends on the fact's place in the random order alone, so on the seed and the fact.
    A wording in which the answer happens to stand is passed over.
    """

    batch = 4096

    @property
    def needs_wordings(self) -> bool:
        """A relation that nobody has worded cannot be asked for."""
        return True

    def describe(self) -> Mapping[str, str]:
        """Its name."""
        return {"writer": "template"}

    def estimate(self, pairs: Sequence[Pair], rows: int) -> Estimate | None:
        """It costs nothing."""
        return None

    def write(self, pairs: Sequence[Pair]) -> Iterator[Questions | Unwritten]:
        """Write the questions of each pair."""
        for fact, unrelated in pairs:
            # The same fact may be unrelated to several rows: the row decides how it is asked.
            own, other = _asked(fact, fact.place), _asked(unrelated, fact.place)
            if len(own) < 2 or not other:
                yield Unwritten("no-wording")
            else:
                yield Questions(own[0], own[1], other[0])

    def close(self) -> None:
        """There is nothing to let go of."""


def _asked(fact: TripleFact, draw: str) -> list[str]:
    """The ways of asking for a fact that do not give it away, in random order."""
    order = sorted(fact.wordings, key=lambda text: blake2b((draw + text).encode()).digest())
    questions = (wording.replace(SLOT, fact.subject) for wording in order)
    return [question for question in questions if not contains(fact.answer, question)]

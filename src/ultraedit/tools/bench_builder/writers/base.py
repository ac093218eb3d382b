"""What the builder expects of a writer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ultraedit.tools.bench_builder.checks import Questions
from ultraedit.tools.bench_builder.pairing import Pair


class Unwritten(NamedTuple):
    """A pair for which no questions came."""

    reason: str
    """A name out of `facts.REASONS`."""

    text: str = ""
    """What came instead."""


class Estimate(NamedTuple):
    """What a build will take, before it is begun."""

    requests: int
    """Most questions to a paid service, retries of unusable replies aside."""

    answered: int
    """Replies that are there already and cost nothing."""

    input_tokens: int
    """Of all requests together, at four characters a token."""

    output_tokens: int

    cost: float | None
    """In the currency of the prices, or None where there are none."""


class QuestionWriter(Protocol):
    """Turns facts into questions."""

    batch: int
    """How many pairs it likes to have at once."""

    @property
    def needs_wordings(self) -> bool:
        """Whether a relation without a known wording is of no use to it."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Its name and settings, as the data card shows them."""
        ...

    def estimate(self, pairs: Sequence[Pair], rows: int) -> Estimate | None:
        """What `rows` rows like these will cost; None if nothing."""
        ...

    def write(self, pairs: Sequence[Pair]) -> Iterator[Questions | Unwritten]:
        """Write the questions of each pair, in the order of the pairs."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...

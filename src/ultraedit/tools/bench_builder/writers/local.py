"""``local``: questions from any model that this package can load, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ultraedit.tools.bench_builder.checks import Questions
from ultraedit.tools.bench_builder.pairing import Pair
from ultraedit.tools.bench_builder.writers import prompts
from ultraedit.tools.bench_builder.writers.base import Estimate, Unwritten

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

QUESTION_TOKENS = 64
"""Most tokens of a question."""


class LocalWriter:
    """Lets a model go on with a text of three examples, greedily.

    No chat template is needed, so base models work as well. The answer is never shown: such a model
    copies what it sees.
    """

    batch = 128

    def __init__(self, language_model: LanguageModel) -> None:
        """Take a model that `models.load` loaded."""
        self._model = language_model

    @property
    def needs_wordings(self) -> bool:
        """A language model can ask for any relation that has a name."""
        return False

    def describe(self) -> Mapping[str, str]:
        """Its name and the model's."""
        return {"writer": "local", "model": self._model.name}

    def estimate(self, pairs: Sequence[Pair], rows: int) -> Estimate | None:
        """It costs nothing but time."""
        return None

    def write(self, pairs: Sequence[Pair]) -> Iterator[Questions | Unwritten]:
        """Write the questions of each pair, in batches."""
        asked = self.go_on([text for pair in pairs for text in prompts.completions(pair)])
        questions, unrelated = asked[0::2], asked[1::2]
        reworded = self.go_on([prompts.rewording(question) for question in questions])
        for texts in zip(questions, reworded, unrelated, strict=True):
            yield Questions(*texts)

    def close(self) -> None:
        """The model is the caller's."""

    def complete(self, texts: Sequence[str]) -> list[str]:
        """The line that the model goes on with, behind each text."""
        from ultraedit.models.generation import generate

        return generate(self._model, texts, max_new_tokens=[QUESTION_TOKENS] * len(texts))

    def go_on(self, texts: Sequence[str]) -> list[str]:
        """The first question that the model goes on with, behind each text."""
        return [_first_question(text) for text in self.complete(texts)]


def _first_question(text: str) -> str:
    """What stands before the first question mark, which ends a question that runs on."""
    question, mark, _ = text.partition("?")
    return " ".join((question + mark).split())

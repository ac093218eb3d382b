"""The same questions in other surroundings: the model's chat template, and behind examples.

An edit is made on a bare prompt, and users hardly ever ask like that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ultraedit.core.types import Edit, Question
from ultraedit.evaluation.question import QUESTIONS, AskedQuestion
from ultraedit.models.chat import begins_twice, render_question

KINDS = tuple(QUESTIONS)
"""The questions that are asked again."""

SHOTS = 4
"""Examples before a question, where there are so many."""

LONGEST = 200
"""Most characters of an example, so that the examples of one run do not fill the context."""

_POOL = 64
"""Examples to choose from: a question leaves those out that would tell its answer."""


class Chat:
    """Each question as what a user says, in the model's own template, up to the reply."""

    name = "chat"

    def __init__(self, tokenizer: Any, *, thinking: bool = False) -> None:
        """Take the template of a tokenizer that has one.

        Args:
            tokenizer: The tokenizer.
            thinking: Whether a reply begins with thoughts, where the template has it so.
        """
        self._tokenizer, self._thinking = tokenizer, thinking
        self._twice = begins_twice(tokenizer)

    def questions(self, asked: Iterable[AskedQuestion]) -> Iterator[AskedQuestion]:
        """The questions inside the template. A reply begins without a space."""
        for each in _with_answers(asked):
            prompt = self.rendered(each.prompt)
            yield in_context(self.name, each, prompt)._replace(gap="", echoes=True)

    def rendered(self, prompt: str, system: str | None = None) -> str:
        """A prompt as what a user says, up to the reply, behind what the system says."""
        text = render_question(self._tokenizer, prompt, system=system, thinking=self._thinking)
        return text.removeprefix(self._twice)


def chat_of(tokenizer: Any) -> Chat | None:
    """The chat template of a tokenizer; None where it has none."""
    return Chat(tokenizer) if getattr(tokenizer, "chat_template", None) else None


class FewShot:
    """Each question behind a few others with their answers, a line each."""

    name = "few-shot"

    def __init__(self, edits: Sequence[Edit], seed: int) -> None:
        """Choose the examples, the same ones for the same edits and seed, wherever they are read.

        Args:
            edits: Those whose unrelated questions are drawn from. What is edited is no example.
            seed: The run's.
        """
        taken = {prompt for edit in edits for prompt in (edit.prompt, *edit.rephrases)}
        pool = {
            question
            for edit in edits
            for question in edit.locality
            if question.target is not None
            and question.target.strip()
            and question.prompt not in taken
            and len(_line(question)) <= LONGEST
            and len(_line(question).splitlines()) == 1
        }
        self.examples = sorted(pool, key=lambda question: _lot(question, seed))[:_POOL]

    def questions(self, asked: Iterable[AskedQuestion]) -> Iterator[AskedQuestion]:
        """The questions behind examples; one without any example is left out."""
        for each in _with_answers(asked):
            lines = [_line(example) for example in self.chosen(each)]
            if lines:
                yield in_context(self.name, each, "\n".join([*lines, each.prompt]))

    def chosen(self, asked: AskedQuestion) -> list[Question]:
        """The first examples that are not the question itself and do not have its answer."""
        answers = {_folded(text) for text in (asked.target, *asked.aliases) if text is not None}
        return [
            example
            for example in self.examples
            if example.prompt != asked.prompt and _folded(example.target or "") not in answers
        ][:SHOTS]


Context = Chat | FewShot


def in_context(name: str, asked: AskedQuestion, prompt: str) -> AskedQuestion:
    """A question in another surrounding, which makes it a probe."""
    kind = f"probe:{name} {asked.kind}"
    return asked._replace(kind=kind, prompt=prompt, shown=asked.prompt)


def _with_answers(asked: Iterable[AskedQuestion]) -> Iterator[AskedQuestion]:
    return (each for each in asked if each.kind in KINDS and each.target is not None)


def _line(question: Question) -> str:
    return f"{question.prompt.strip()} {(question.target or '').strip()}"


def _lot(question: Question, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{question.prompt}\n{question.target}".encode()).digest()


def _folded(text: str) -> str:
    return text.strip().casefold()

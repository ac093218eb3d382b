"""What a server asks of a fact: in which forms, around it, and whether the answer is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from ultraedit.core.types import Edit, Editor
from ultraedit.data.enrichment import TemplateWriter, enrich
from ultraedit.evaluation.metrics import exact_match
from ultraedit.evaluation.probes import chat_of
from ultraedit.evaluation.scoring import MIN_TOKENS, SPARE_TOKENS
from ultraedit.host.host import ModelHost

SHOWN_NEIGHBORS = 2
"""Questions of the same form about other subjects that a preview asks beside each fact."""

SHOWN_REPHRASES = 2
"""Rephrasings of each fact that a preview asks."""

Form = Literal["plain", "chat"]


class Asked(NamedTuple):
    """One question before and after."""

    kind: Literal["fact", "rephrase", "neighbor", "control"]
    form: Form
    prompt: str
    before: str
    after: str
    right: bool | None
    """Whether the answer after is the target; of a neighbor or a control, whether it is what it
    was."""


class Put(NamedTuple):
    """A question as it is put to the model."""

    kind: Literal["fact", "rephrase", "neighbor"]
    form: Form
    question: str
    prompt: str


class Tested(NamedTuple):
    """What an edit did when it was asked last."""

    turn: int
    forms: Mapping[Form, bool]
    """By form, whether the answer was the target."""
    answers: Mapping[Form, str]

    @property
    def holds(self) -> bool:
        """Whether it is answered in every form."""
        return all(self.forms.values())


class Questions:
    """How a model is asked of facts."""

    def __init__(self, host: ModelHost, editor: Editor) -> None:
        """Choose the forms.

        Args:
            host: The model.
            editor: What writes the facts: they are asked in the forms in which they are written.
        """
        self._tokenizer = host.language_model.tokenizer
        self._chat = chat_of(self._tokenizer)
        form = getattr(editor, "form", "plain")
        self.forms: tuple[Form, ...] = ("plain",) if form == "plain" else ("plain", "chat")
        if form == "chat":
            self.forms = ("chat",)
        if self._chat is None:
            self.forms = ("plain",)

    def put(self, prompt: str, form: Form) -> str:
        """A question in a form, in plain form where the model has no chat template."""
        return prompt if form == "plain" or self._chat is None else self._chat.rendered(prompt)

    def limit(self, edit: Edit) -> int:
        """Most tokens of an answer about a fact."""
        ids = self._tokenizer(edit.target)["input_ids"]
        return max(MIN_TOKENS, len(ids) + SPARE_TOKENS)

    def around(self, edit: Edit) -> list[Put]:
        """What a preview asks of a fact, and of other subjects in the same form."""
        other: Form = "plain" if self._chat is None else "chat"
        forms: tuple[Form, ...] = ("plain",) if self._chat is None else ("plain", "chat")
        rephrases = edit.rephrases[:SHOWN_REPHRASES]
        near = [question.prompt for question in edit.locality[:SHOWN_NEIGHBORS]]
        return [
            *(Put("fact", form, edit.prompt, self.put(edit.prompt, form)) for form in forms),
            *(Put("rephrase", "plain", each, each) for each in rephrases),
            *(Put("neighbor", other, each, self.put(each, other)) for each in near),
        ]


def with_questions(edit: Edit) -> Edit:
    """A fact with rephrasings, and questions about other subjects, by English patterns."""
    made = next(enrich([edit], TemplateWriter())).edit
    return replace(edit, rephrases=made.rephrases, locality=made.locality)


def compared(edit: Edit, put: Put, before: Mapping[str, str], after: Mapping[str, str]) -> Asked:
    """A question with its answers before and after, which are given by prompt."""
    was, now = before[put.prompt], after[put.prompt]
    right = was == now if put.kind == "neighbor" else is_right(edit, now)
    return Asked(put.kind, put.form, put.question, was, now, right)


def is_right(edit: Edit, answer: str) -> bool:
    """Whether an answer is the target of a fact, or one of its aliases."""
    return bool(exact_match(answer, [edit.target, *edit.aliases]))

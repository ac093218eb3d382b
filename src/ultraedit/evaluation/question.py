"""One question of one edit, as an evaluation asks it, and the kinds of question."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ultraedit.core.types import Edit, Question


class AskedQuestion(NamedTuple):
    """One question of one edit."""

    kind: str
    """``efficacy``, ``generalization``, ``specificity`` or ``probe:NAME``."""

    edit: Edit

    prompt: str
    """What the model reads."""

    target: str | None
    aliases: tuple[str, ...] = ()

    shown: str | None = None
    """The question for a reader's eye, where a context surrounds it; None where `prompt` is it."""

    gap: str = " "
    """What stands between the prompt and the answer."""

    echoes: bool = False
    """Whether a generated answer may repeat the question before it answers, as in a chat."""

    statement: bool = False
    """Whether it is the beginning of a statement, and counts where the model ends it so, whatever
    comes then: all tokens of the answer are its top choices, or a generated one begins with it."""

    unwanted: bool = False
    """Whether the answer is one that should not be given. The score is the share that is."""

    def answered(self, text: str) -> str:
        """A generated answer without the question that it repeats."""
        if not self.echoes or not self.shown:
            return text
        # Neither case nor blanks count, and only the text itself says how long its echo is: in
        # lower case, letters of some scripts are two.
        echo = r"\s+".join(map(re.escape, self.shown.split()))
        match = re.match(rf"\s*{echo}", text, re.IGNORECASE)
        return text if match is None else text[match.end() :].strip()

    @property
    def question(self) -> Question:
        """The question itself, whichever edit it came with."""
        return Question(self.prompt, self.target)


@dataclass(frozen=True, kw_only=True)
class QuestionKind:
    """One kind of question that an edit brings along."""

    name: str
    """What records and answers name it."""

    ask: Callable[[Edit, Edit], Iterable[Question]]
    """Takes an edit and the newest edit of its prompt, whose answer is the right one."""

    of_fact: bool
    """Whether it asks for the fact itself, not for something that must not change."""


QUESTIONS: Mapping[str, QuestionKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            QuestionKind(
                name="efficacy",
                ask=lambda edit, newest: [Question(edit.prompt, newest.target)],
                of_fact=True,
            ),
            QuestionKind(
                name="generalization",
                ask=lambda edit, newest: [Question(each, newest.target) for each in edit.rephrases],
                of_fact=True,
            ),
            QuestionKind(name="specificity", ask=lambda edit, newest: edit.locality, of_fact=False),
        )
    }
)
"""The kinds of question by name, in the order in which they are asked. Probes come after them."""

"""One question of one edit, as an evaluation asks it."""

from __future__ import annotations

import re
from typing import NamedTuple

from ultraedit.core.types import Edit, Question


class Asked(NamedTuple):
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
    """Whether a free answer may repeat the question before it answers, as a chat's reply does."""

    statement: bool = False
    """Whether it is the beginning of a statement, and counts where the model ends it so, whatever
    comes then: all tokens of the answer are its top choices, or a free answer begins with it."""

    unwanted: bool = False
    """Whether the answer is one that should not be given. The score is the share that is."""

    def answered(self, text: str) -> str:
        """A free answer without the question that it repeats."""
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

"""One question of one edit, as an evaluation asks it."""

from __future__ import annotations

from typing import NamedTuple

from ultraedit.types import Edit, Question


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
        echo = (self.shown or "").strip().casefold()
        return (
            text[len(echo) :].strip() if self.echoes and text.casefold().startswith(echo) else text
        )

    @property
    def question(self) -> Question:
        """The question itself, whichever edit it came with."""
        return Question(self.prompt, self.target)

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

    whole: bool = False
    """Whether the answer counts under teacher forcing only if all its tokens are top choices."""

    unwanted: bool = False
    """Whether the answer is one that the model should not give, and the score the share of the
    questions to which it does: a free answer counts as soon as it begins with it."""

    @property
    def question(self) -> Question:
        """The question itself, whichever edit it came with."""
        return Question(self.prompt, self.target)

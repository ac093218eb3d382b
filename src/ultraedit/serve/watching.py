"""What a server looks at after every turn, and the guard that judges it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ultraedit.core.encoding import Encoded, text_ids
from ultraedit.core.types import Edit, Question
from ultraedit.data.general_questions import controls
from ultraedit.evaluation.monitors import Guard
from ultraedit.evaluation.monitors.locality import Locality
from ultraedit.evaluation.perplexity import Text, perplexity, read_text
from ultraedit.host.host import ModelHost

WATCHED = 24
"""Control questions that are looked at after every turn."""

DEFAULT_GUARD: Mapping[str, float] = {"norm": 1.0, "agreement": 0.5, "perplexity": 1.5}
"""Thresholds at which a turn is taken back: far beyond what a turn that goes well does."""


@dataclass
class Seen:
    """What was seen of the model at a turn."""

    turn: int
    norm: float
    agreement: float
    kl: float
    perplexity: float
    ratio: float
    """Perplexity over that of the unedited model."""


class Watch:
    """How far a model has moved from the unedited one: weights, control questions and a text."""

    def __init__(self, host: ModelHost, guard: Guard, text: str | None) -> None:
        """Look at the unedited model, which the host must hold.

        Args:
            host: The model.
            guard: Its thresholds.
            text: A text whose perplexity is watched; None for the control questions themselves.
        """
        self.prompts = [each.prompt for each in controls()[:WATCHED]]
        """The control questions that are looked at."""
        self._host, self.guard = host, guard
        edit = Edit("-", "-", locality=tuple(Question(prompt) for prompt in self.prompts))
        self._locality = Locality(host, [edit])
        self._text = self._passages(text, self.prompts)
        self._perplexity = perplexity(host, self._text) or math.inf

    def _passages(self, text: str | None, prompts: Sequence[str]) -> Text:
        if text is not None:
            return read_text(self._host, text)
        rows = text_ids(self._host.language_model.tokenizer, prompts)
        return tuple(Encoded((row[0],), tuple(row[1:])) for row in rows if len(row) > 1)

    def look(self, turn: int) -> Seen:
        """Look at the model as it stands.

        Args:
            turn: The turn that it stands at.
        """
        locality = self._locality.measure()
        ppl = perplexity(self._host, self._text) or math.inf
        return Seen(
            turn=turn,
            norm=max(self._host.asked_norms().values(), default=0.0),
            agreement=locality["agreement"],
            kl=locality["kl"],
            perplexity=ppl,
            ratio=ppl / self._perplexity,
        )

    def breach(self, seen: Seen) -> str | None:
        """Why the guard lets such a model through no more; None if it does."""
        now = {"locality": {"kl": seen.kl, "agreement": seen.agreement}}
        return self.guard.breach({"all": seen.norm}, now, seen.ratio)

"""All probes of one job: which are asked, what they ask, and what has to be said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.core.types import Edit
from ultraedit.data.relations.facts import fact_of
from ultraedit.evaluation.probes.contexts import Chat, Context, FewShot
from ultraedit.evaluation.probes.implications import negation, reverse
from ultraedit.evaluation.question import Asked

NAMES = ("chat", "few-shot", "reverse", "negation")
"""The probes, in the order in which their scores stand."""

ALL = "all"

_FACTS = {"reverse": reverse, "negation": negation}


class Probing:
    """Probes that are asked whenever a job is scored; made once, so that they stay the same."""

    def __init__(
        self, names: Sequence[str], tokenizer: Any, edits: Sequence[Edit], seed: int = 0
    ) -> None:
        """Get ready to probe.

        Args:
            names: Some of `NAMES`.
            tokenizer: The model's, whose chat template is used.
            edits: All edits that are scored, now or later.
            seed: The run's, which chooses the examples.
        """
        self.remarks: dict[str, str] = {}
        """By name of a probe what a reader has to know: that it is left out, or of which edits."""
        self._contexts: list[Context] = []
        if "chat" in names:
            if getattr(tokenizer, "chat_template", None):
                self._contexts.append(Chat(tokenizer))
            else:
                self.remarks["chat"] = "left out, since the model has no chat template"
        if "few-shot" in names:
            few = FewShot(edits, seed)
            if few.examples:
                self._contexts.append(few)
            else:
                self.remarks["few-shot"] = (
                    "left out, since the examples are unrelated questions with answers, and the "
                    "facts have none"
                )
        self._facts = [name for name in _FACTS if name in names]
        if self._facts:
            self._look_for_relations(edits)

    def _look_for_relations(self, edits: Sequence[Edit]) -> None:
        known = sum(fact_of(edit, edit.target) is not None for edit in edits)
        if known < len(edits):
            said = (
                f"of the {known:,} of {len(edits):,} edits whose relation is known by their wording"
                if known
                else "left out, since this probe needs facts whose relation is known by their "
                f"wording, and none of the {len(edits):,} edits is such a one"
            )
            self.remarks |= dict.fromkeys(self._facts, said)

    def questions(self, asked: Sequence[Asked]) -> Iterator[Asked]:
        """What the probes ask beside the questions of an evaluation."""
        for context in self._contexts:
            yield from context.questions(asked)
        for name in self._facts:
            yield from _FACTS[name](asked)


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Names of probes in their order, each once; ``all`` stands for all of them.

    Args:
        names: As a user gives them, perhaps several with commas between them.

    Raises:
        ConfigError: If one is no probe.
    """
    given = [name for text in names for name in text.replace(",", " ").split()]
    for name in given:
        if name not in (*NAMES, ALL):
            raise ConfigError(f"There is no probe {name!r}. {did_you_mean(name, (*NAMES, ALL))}")
    return tuple(name for name in NAMES if name in given or ALL in given)

"""Second moments of the edited layers' inputs: over a text corpus, or over the edits' prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ultraedit import trace
from ultraedit.errors import DataError
from ultraedit.models.modules import shape_of
from ultraedit.types import SecondMoment

if TYPE_CHECKING:
    from torch import nn

    from ultraedit.models import LanguageModel

PROMPTS = 1_000
"""Prompts that stand in for a corpus, the first of a run."""


class Statistics(Protocol):
    """Where a host has the second moments of its layers from."""

    def moments(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, SecondMoment]:
        """Second moments of the modules' inputs, by path, at the model's present weights."""
        ...


@dataclass(frozen=True)
class OfPrompts:
    """Statistics of the tokens of some prompts: what there is where no corpus was given."""

    prompts: Sequence[str]

    def moments(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, SecondMoment]:
        """Second moments of the modules' inputs, by path, at the model's present weights.

        Raises:
            DataError: If there is no prompt.
        """
        if not self.prompts:
            raise DataError("There is no prompt to take second-moment statistics from.")
        sums = trace.MomentSums.zeros(modules, {p: shape_of(m).d_in for p, m in modules.items()})
        trace.add_moments(
            language_model.model, modules, tokenize(language_model, self.prompts), sums
        )
        return {
            path: SecondMoment(sums.mean(path), sums.tokens, "prompts of the edits")
            for path in modules
        }


def tokenize(language_model: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text with the tokenizer's special tokens, cut at the model's context."""
    ids: list[list[int]] = language_model.tokenizer(list(texts))["input_ids"]
    return [row[: language_model.context_length] for row in ids]

"""Unrelated prompts: how far the next token's distribution is from the unedited model's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ultraedit.core.encoding import Encoded
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit
from ultraedit.evaluation.metrics.divergence import divergence, log_probabilities, same_choice
from ultraedit.host.host import ModelHost

PROMPTS = 64
"""Most prompts: each keeps a distribution over the vocabulary."""


class Locality:
    """KL divergence and top-1 agreement with the unedited model at the end of locality prompts."""

    name = "locality"

    def __init__(self, host: ModelHost, edits: Iterable[Edit]) -> None:
        """Ask the unedited model.

        Args:
            host: The model, unedited.
            edits: Where the prompts come from, the first `PROMPTS` different ones.

        Raises:
            ConfigError: If they have no locality question.
        """
        prompts: dict[str, None] = {}
        for edit in edits:
            prompts |= dict.fromkeys(question.prompt for question in edit.locality)
            if len(prompts) >= PROMPTS:
                break
        chosen = list(prompts)[:PROMPTS]
        if not chosen:
            raise ConfigError(
                "The facts have no locality questions, which the monitor `locality` asks. Leave it "
                "out of --monitor."
            )
        self._host = host
        # The answer is never read: one supervised token is the one right after the prompt.
        self._items = [
            Encoded(item.prompt_ids, item.answer_ids[:1])
            for item in host.encode([(prompt, "-") for prompt in chosen])
        ]
        self._reference = self._distributions()

    def measure(self) -> dict[str, Any]:
        """``kl`` in nats, ``agreement`` as a share, ``prompts`` their number."""
        now = self._distributions()
        return {
            "kl": divergence(self._reference, now),
            "agreement": same_choice(self._reference, now),
            "prompts": len(self._items),
        }

    def _distributions(self) -> Tensor:
        """Log-probabilities of the next token. Shape (prompts, vocabulary)."""
        rows: list[Tensor] = [torch.empty(0)] * len(self._items)
        for indices, logits in self._host.logits(self._items):
            for index, row in zip(indices, logits, strict=True):
                rows[index] = log_probabilities(row[0]).cpu()
        return torch.stack(rows)

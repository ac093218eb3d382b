"""Ordinary text: how likely the model finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ultraedit.encoding import Encoded
from ultraedit.errors import ConfigError, DataError
from ultraedit.host import ModelHost
from ultraedit.metrics import log_probabilities, perplexity, windows

WINDOW, STRIDE = 512, 256
"""Tokens of a window, and by how many it moves on."""


class Text:
    """Perplexity of the beginning of a text file, by sliding windows."""

    name = "perplexity"

    def __init__(self, host: ModelHost, path: Path, tokens: int) -> None:
        """Tokenise the text.

        Args:
            host: The model.
            path: A plain text, taken as a whole.
            tokens: Take so many tokens from its beginning.

        Raises:
            ConfigError: If there is no such file.
            DataError: If it cannot be read, or has fewer than two tokens.
        """
        if not path.is_file():
            raise ConfigError(f"There is no text {path}. Give --perplexity a text file.")
        try:
            # A token has at least a byte; far more characters than that need not be tokenised.
            with path.open(encoding="utf-8") as file:
                text = file.read(16 * tokens)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read the text {path}: {error}.") from None
        # Longer than the model's context, of which tokenizers warn: it is cut into windows.
        ids = host.language_model.tokenizer(text, verbose=False)["input_ids"][:tokens]
        if len(ids) < 2:
            raise DataError(f"{path} has fewer than two tokens: there is nothing to predict.")
        size = min(WINDOW, host.language_model.context_length or WINDOW)
        self._host = host
        self._items = [
            Encoded(tuple(ids[each.begin : each.scored]), tuple(ids[each.scored : each.end]))
            for each in windows(len(ids), size, size * STRIDE // WINDOW)
        ]

    def measure(self) -> dict[str, Any]:
        """``value``, and the number of ``tokens`` that were predicted."""
        found = []
        for indices, logits in self._host.logits(self._items):
            for index, rows in zip(indices, logits, strict=True):
                wanted = torch.tensor(self._items[index].answer_ids, device=rows.device)
                logs = log_probabilities(rows).gather(1, wanted.unsqueeze(1)).squeeze(1)
                found.append((index, logs.cpu()))
        logs = torch.cat([each for _, each in sorted(found, key=lambda pair: pair[0])])
        return {"value": perplexity(logs), "tokens": len(logs)}

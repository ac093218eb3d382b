"""Texts as vectors, by an encoder such as those of Sentence Transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ultraedit.models.transformers_output import quiet
from ultraedit.models.transformers_reader import read_tokenizer, readable

BATCH = 64
"""Texts per forward pass; prompts are short."""

MAX_TOKENS = 256
"""Of a text; what is beyond says nothing about which fact a question means."""


class Embedder:
    """Mean of an encoder's last hidden states over the tokens of a text, at unit length.

    That is the pooling of most sentence encoders (Reimers & Gurevych 2019, *Sentence-BERT*). A
    query prefix that some of them want is not added.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Take an encoder in eval mode and its tokenizer."""
        self._model, self._tokenizer = model, tokenizer
        known = getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS
        self._length = min(MAX_TOKENS, int(known))

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed texts. float32 on the CPU, shape (texts, d)."""
        rows = [self._embed(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        return torch.cat(rows)

    def _embed(self, texts: Sequence[str]) -> Tensor:
        read = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._length,
            return_tensors="pt",
        )
        states = self._model(**read).last_hidden_state.float()
        mask = read["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return torch.nn.functional.normalize(pooled, dim=-1)


@lru_cache(maxsize=1)
def load_embedder(source: str, *, offline: bool = False) -> Embedder:
    """Load an encoder by its folder or Hugging Face id. It is kept until another is asked for.

    Args:
        source: A model folder or a Hugging Face id.
        offline: Whether to look in the local cache alone.

    Raises:
        ConfigError: If it cannot be read.
    """
    from transformers import AutoModel

    tokenizer = read_tokenizer(source, offline=offline)
    with readable(source, "an encoder of texts"), quiet():
        model = AutoModel.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=offline,
            trust_remote_code=False,
        )
    return Embedder(model.requires_grad_(False).eval(), tokenizer)

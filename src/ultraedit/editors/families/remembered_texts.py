"""Texts that an editor remembers: written by the model itself, kept as bytes in its state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ultraedit.core.types import Host


def written(host: Host, starts: Sequence[str], tokens: Sequence[int]) -> list[str]:
    """What a model makes of the beginnings of texts, greedily: beginning and all.

    Args:
        host: The model.
        starts: The beginnings.
        tokens: How many tokens it may add to each.
    """
    added = host.answer(starts, tokens) if starts else []
    return [f"{start} {text}" for start, text in zip(starts, added, strict=True)]


def pack_texts(texts: Sequence[str]) -> Tensor:
    """Texts of one line each as a tensor of bytes."""
    return torch.tensor(list("\n".join(texts).encode()), dtype=torch.uint8)


def unpack_texts(packed: Tensor) -> list[str]:
    """The texts of `pack_texts`; none where it had none."""
    return bytes(packed.tolist()).decode().split("\n") if len(packed) else []

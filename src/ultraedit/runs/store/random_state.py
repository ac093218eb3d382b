"""The random state of a process as bytes, so that a resumed run draws what it would have drawn."""

from __future__ import annotations

import random

import torch
from safetensors.torch import load, save
from torch import Tensor


def random_state() -> bytes:
    """State of the generators of Python, of torch and of each of its GPUs."""
    version, words, gauss = random.getstate()
    tensors = {
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states = torch.cuda.get_rng_state_all()
        tensors |= {f"cuda.{index}": state for index, state in enumerate(states)}
    packed: bytes = save(tensors)
    return packed


def restore_random_state(packed: bytes) -> None:
    """Go back to a state that `random_state` took."""
    tensors: dict[str, Tensor] = load(packed)
    version, *words = tensors["python"].tolist()
    gauss = tensors["python.gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    torch.set_rng_state(tensors["torch"])
    for name, state in tensors.items():
        index = name.removeprefix("cuda.")
        if index.isdecimal() and int(index) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(index))

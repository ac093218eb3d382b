"""Random changes of tiny models, for tests that carry them away."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ultraedit.models import LanguageModel, find_modules
from ultraedit.models.delta import Delta
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.modules import shape_of

PATTERNS = {"llama": "layers.[0-1].mlp.down_proj", "gpt2": "h.[0-1].mlp.c_proj"}


def random_change(
    language_model: LanguageModel, *, seed: int = 0, size: float = 0.05, rank: int | None = None
) -> dict[str, Tensor]:
    """A dense change of every module that a pattern stands for, or one of a low rank."""
    arch = language_model.name.removeprefix("tiny-")
    generator = torch.Generator().manual_seed(seed)
    changes = {}
    for path, module in find_modules(language_model.model, PATTERNS[arch]).items():
        d_in, d_out = shape_of(module)
        k = rank or min(d_in, d_out)
        left = torch.randn(d_in, k, generator=generator)
        changes[path] = size * left @ torch.randn(k, d_out, generator=generator) / k**0.5
    return changes


def make_delta(language_model: LanguageModel, changes: dict[str, Tensor], **more: Any) -> Delta:
    """A delta of a model with these changes."""
    about: dict[str, Any] = {
        "base": language_model.name,
        "fingerprint": fingerprint(language_model.model),
        "dtype": str(language_model.dtype).removeprefix("torch."),
        "editor": "ultraedit",
        "edits": 5,
        "turns": 2,
    }
    return Delta(changes=changes, **(about | more))

"""Computing in float32 for a while, where that is what a processor is fast at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ultraedit.models.hardware import is_faster_in_float32

NARROW = (torch.bfloat16, torch.float16)
"""Types whose matrix products are slower than those of float32 on most CPUs."""

MOST_PARAMETERS = 2**30
"""Parameters of the largest model that is held in float32 for a while: 4 GiB more memory."""


def float32_bytes(parameters: int, dtype: torch.dtype, device: torch.device) -> int:
    """Memory that `in_float32` takes for a model, in bytes; 0 where the model stays as it is.

    It does where float32 is no faster (`hardware.is_faster_in_float32`), in a model of 32 bits, and
    in a large one, for which it would need too much memory.
    """
    narrow = dtype in NARROW and parameters <= MOST_PARAMETERS
    return 4 * parameters if narrow and is_faster_in_float32(device) else 0


@contextmanager
def in_float32(model: nn.Module) -> Iterator[None]:
    """Hold weights of 16 bits in float32, and the very same tensors as before afterwards.

    Nothing is rounded on the way there. What is written to the weights meanwhile is lost.

    Args:
        model: The model. It stays as it is where `float32_bytes` is 0.
    """
    parameters = list(model.parameters())
    size = sum(each.numel() for each in parameters)
    narrow = [each for each in (*parameters, *model.buffers()) if each.dtype in NARROW]
    held: list[tuple[Tensor, Tensor]] = []
    if all(float32_bytes(size, each.dtype, each.device) for each in narrow):
        held = [(each, each.data) for each in narrow]
    try:
        for tensor, before in held:
            tensor.data = before.float()
        yield
    finally:
        for tensor, before in held:
            tensor.data = before

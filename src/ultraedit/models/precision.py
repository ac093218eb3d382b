"""Computing in float32 for a while, where that is what a processor is fast at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

NARROW = (torch.bfloat16, torch.float16)
"""Types whose matrix products are slower than those of float32 on most CPUs."""

MOST_PARAMETERS = 2**30
"""Parameters of the largest model that is held in float32 for a while: 4 GiB more memory."""


def float32_bytes(parameters: int, dtype: torch.dtype, device: torch.device) -> int:
    """Memory that `in_float32` takes for a model, in bytes; 0 where the model stays as it is.

    It does where float32 is no faster: on a card, on a CPU with units for such products (Intel's
    AMX), and in a model of 32 bits. Without such units a turn took a third of its time, of which
    0.57 by float32 (docs/design/012-anchored.md). A large model would need too much memory.
    """
    has_units = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    if device.type != "cpu" or has_units or dtype not in NARROW or parameters > MOST_PARAMETERS:
        return 0
    return 4 * parameters


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

"""A short name for the weights that a model holds, so that a change is not put on others.

Every byte counts, at the speed of the memory: of each weight the sum of all its bytes, read as
64-bit integers that wrap around, and beside it a sample of its elements, which also sees order.
On one core SmolLM2 in float32 takes 0.05 s; a hash of all its bytes would take six times that,
and eight seconds for a model of seven billion weights in bfloat16.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from ultraedit.core.errors import ConfigError
from ultraedit.models.attached import overlays_on
from ultraedit.models.offload import offloaded_weight

SAMPLE = 65_536
"""Most elements of a weight that are hashed one by one; smaller weights are hashed whole."""

_WORD = 8
"""Bytes of the integers that are summed."""


def fingerprint(model: nn.Module) -> str:
    """Identify the weights of a model as they are now.

    It is the same on every device, after saving and loading in the same dtype, and whether or not
    tied weights share their memory. It is another one as soon as any single weight differs, a
    name or a shape, and in another dtype, since rounded weights are other weights. The memories
    of a model that is routed are among its weights, and so are the facts that one reads.

    What it does not see: a change that keeps all sampled elements and, in 64-bit arithmetic, the
    sum of the others' bytes, such as two unsampled elements that change places. Nobody does that
    by accident; it is no seal against forgery. Buffers, the config and the tokenizer are no part
    of it.

    Args:
        model: A model whose weights are in memory, or where accelerate can fetch them.

    Returns:
        ``sha256:`` and 64 hexadecimal digits.

    Raises:
        ConfigError: If a weight is nowhere.
    """
    # By names without duplicates a model would change its own with the tying of its weights.
    named = sorted(model.named_parameters(remove_duplicate=False))
    known: dict[int, bytes] = {}
    joined = hashlib.sha256()
    for name, weight in named:
        read = offloaded_weight(model, name) if weight.is_meta else weight
        if read is None:
            raise ConfigError(
                f"{name} is not in memory, and nobody says where it is, so it cannot be "
                "identified. Load the model with its weights."
            )
        if id(weight) not in known:
            known[id(weight)] = digest(read.detach())
        joined.update(name.encode() + b"\0" + known[id(weight)])
    for part in (part for overlay in overlays_on(model) for part in overlay.identity()):
        joined.update(part if isinstance(part, bytes) else digest(part))
    return f"sha256:{joined.hexdigest()}"


def digest(weight: Tensor) -> bytes:
    """Hash of one weight's shape, dtype, sample and sum, as `fingerprint` joins them."""
    flat = weight.contiguous().view(-1)
    if flat.storage_offset() * flat.element_size() % _WORD:
        flat = flat.clone()  # Integers can be read only where their size divides the address.
    raw = flat.view(torch.uint8)
    whole = raw.numel() // _WORD * _WORD
    total = int(raw[:whole].view(torch.int64).sum()) if whole else 0
    header = f"{tuple(weight.shape)} {weight.dtype} {total}\0".encode()
    sample = _bytes(flat[:: _stride(weight)]) + _bytes(raw[whole:])
    return hashlib.sha256(header + sample).digest()


def _stride(weight: Tensor) -> int:
    """Distance of the sampled elements.

    It shares no factor with the length of a row, or the sample would be of a few columns alone.
    """
    stride = max(1, -(-weight.numel() // SAMPLE))
    row = weight.shape[-1] if weight.ndim else 1
    while math.gcd(stride, row) > 1:
        stride += 1
    return stride


def _bytes(values: Tensor) -> bytes:
    raw: bytes = values.contiguous().view(torch.uint8).cpu().numpy().tobytes()
    return raw

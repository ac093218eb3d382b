"""Snapshots: all that a run carries from turn to turn, as one safetensors file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ultraedit.core.errors import StorageError
from ultraedit.core.files import staged
from ultraedit.core.types import Carried

FOLDER = "state"
_CHANGE, _STATE = "change/", "state/"

SAMPLE = 16_384
"""Most elements of a tensor that its digest hashes one by one."""

_WIDE = 4
"""Bytes of an integer whose sums, wrapped around, differ where the numbers do."""

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers of the size of an element."""


def snapshot_name(turn: int) -> str:
    """Path of the snapshot after a turn, within its run folder."""
    return f"{FOLDER}/turn-{turn:06d}.safetensors"


def write_snapshot(path: Path, carried: Carried) -> None:
    """Write a snapshot whole.

    Raises:
        StorageError: If it cannot be written. What was there before stays.
    """
    tensors = {f"{_CHANGE}{name}": tensor for name, tensor in carried.changes.items()}
    tensors |= {f"{_STATE}{name}": tensor for name, tensor in carried.state.items()}
    devices = {name: str(t.device) for name, t in tensors.items() if t.device.type != "cpu"}
    with staged(path) as stage:
        save_file(_separate(tensors), stage, metadata={"devices": json.dumps(devices)})


def read_snapshot(path: Path) -> Carried:
    """Read a snapshot, its tensors on the devices that they were on where these are here.

    Raises:
        StorageError: If it is missing or damaged.
    """
    changes: dict[str, Tensor] = {}
    state: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            devices = json.loads(file.metadata()["devices"])
            for key in file.keys():  # noqa: SIM118  # it is no dict
                kind, name = (changes, key.removeprefix(_CHANGE))
                if key.startswith(_STATE):
                    kind, name = (state, key.removeprefix(_STATE))
                kind[name] = _placed(file.get_tensor(key), devices.get(key))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"Cannot read the snapshot {path}: {getattr(error, 'strerror', None) or error}. "
            f"`ultraedit verify {path.parent.parent}` says what else is damaged."
        ) from None
    return Carried(changes, state)


def digest(carried: Carried) -> str:
    """Name what a turn carries on, so that a snapshot of another turn is not taken for its own.

    Every byte counts, at the speed of the memory: of each tensor the sum of its elements read as
    integers, and a sample of them, which also sees their order (`models.fingerprint` works the same
    way). It is the same on every device and for every layout in memory. No seal against forgery.

    Returns:
        64 hexadecimal digits.
    """
    named = {f"{_CHANGE}{name}": tensor for name, tensor in carried.changes.items()}
    named |= {f"{_STATE}{name}": tensor for name, tensor in carried.state.items()}
    whole = hashlib.sha256()
    for name in sorted(named):
        whole.update(name.encode() + b"\0" + _digest(named[name].detach()))
    return whole.hexdigest()


def _digest(tensor: Tensor) -> bytes:
    """Hash of one tensor's shape, dtype, sum and sample."""
    header = f"{tuple(tensor.shape)} {tensor.dtype} "
    if not tensor.numel():
        return hashlib.sha256(header.encode()).digest()
    turned = tensor.ndim == 2 and tensor.T.is_contiguous()  # a weight seen as (d_in, d_out)
    flat = (tensor.T if turned else tensor).contiguous().view(-1)
    integers = flat.view(_WORDS.get(tensor.element_size(), torch.uint8))
    # In their own type, where sums wrap around: torch makes a copy of what it sums in a wider one.
    wide = integers.dtype if tensor.element_size() >= _WIDE else torch.int64
    total = int(integers.sum(dtype=wide))
    stride = max(1, -(-flat.numel() // SAMPLE))
    while math.gcd(stride, tensor.shape[-1] if tensor.ndim else 1) > 1:
        stride += 1  # or the sample would be of a few columns alone
    if turned:
        places = torch.arange(0, flat.numel(), stride, device=tensor.device)
        sample = tensor[places // tensor.shape[1], places % tensor.shape[1]]
    else:
        sample = flat[::stride]
    raw = sample.contiguous().view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(f"{header}{total}\0".encode() + raw).digest()


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors without shared memory, as safetensors wants them."""
    taken: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        if tensor.data_ptr() in taken or tensor.untyped_storage().nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        taken.add(tensor.data_ptr())
        separate[name] = tensor
    return separate


def _placed(tensor: Tensor, device: str | None) -> Tensor:
    if device is None or not _is_here(torch.device(device)):
        return tensor
    return tensor.to(device)


def _is_here(device: torch.device) -> bool:
    """Whether this machine has a device that another one may have had."""
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type != "mps" or torch.backends.mps.is_available()

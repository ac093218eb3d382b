"""Snapshots: all that a run carries from turn to turn, as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ultraedit.errors import StorageError
from ultraedit.files import staged
from ultraedit.types import Carried

FOLDER = "state"
_CHANGE, _STATE = "change/", "state/"


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

"""Trained nets as files: named tensors, and what they belong to, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import write_bytes

FORMAT = "ultraedit-net-1"
"""The entry of a net file's metadata, so that it is known from other files."""


@dataclass(frozen=True)
class Net:
    """What was learned, as tensors, and about what."""

    tensors: Mapping[str, Tensor]
    """By name, on the CPU."""

    about: Mapping[str, Any]
    """Plain values: ``editor``, ``model``, ``fingerprint``, ``modules``, ``options``, and how it
    was trained."""

    @cached_property
    def digest(self) -> Tensor:
        """Hash of all tensors. uint8, shape (32,)."""
        sha256 = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            sha256.update(raw.numpy().tobytes())
        return torch.frombuffer(bytearray(sha256.digest()), dtype=torch.uint8)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            StorageError: If it cannot be written. What was there before stays.
        """
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.tensors.items()}
        # One entry: safetensors writes several in any order, and equal nets should be equal files.
        write_bytes(path, save(tensors, {FORMAT: json.dumps(dict(self.about))}))


class NetFile(Net):
    """A net that stays in its file until its tensors are asked for."""

    path: Path

    def __init__(self, path: str) -> None:
        """Read what the file says of itself.

        Raises:
            ConfigError: If there is none, or it is something else.
        """
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "about", read_about(self.path))

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """By name, on the CPU.

        Raises:
            ConfigError: If the file cannot be read.
        """
        return read_net(self.path).tensors


def read_net(path: Path) -> Net:
    """Read a net file.

    Raises:
        ConfigError: If there is none, or it is something else.
    """
    from safetensors import SafetensorError, safe_open

    about = read_about(path)
    try:
        with safe_open(path, framework="pt") as file:
            return Net({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigError(_unreadable(path, error)) from None


def read_about(path: Path) -> dict[str, Any]:
    """Read what a net file says of itself, without its tensors.

    Raises:
        ConfigError: If there is none, or it is something else.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ConfigError(
            f"There is no net at {path}. `ultraedit train EDITOR --model M --data F --out {path}` "
            "makes one."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ConfigError(_unreadable(path, error)) from None
    if FORMAT not in metadata:
        raise ConfigError(
            f"{path} is no net: it is a safetensors file of another kind. Give the file that "
            "`ultraedit train` wrote."
        )
    about: dict[str, Any] = json.loads(metadata[FORMAT])
    return about


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} cannot be read as a net: {error}. Give the file that `ultraedit train` wrote."

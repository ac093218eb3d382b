"""safetensors files for export: readable by all, refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ultraedit.core.errors import ConfigError, StorageError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors with the permissions of an ordinary file.

    Args:
        path: A new file, such as one that `files.staged` gave.
        tensors: What to write, from any device.
        header: Texts for the header of the file.
    """
    path.touch()
    mode = path.stat().st_mode
    # Other programs know by "format" that the tensors are torch's.
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, metadata={"format": "pt", **header})
    path.chmod(mode)  # safetensors lets nobody but the owner read its files.


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors of a file, and the texts of its header.

    Raises:
        ConfigError: If there is no such file.
        StorageError: If it cannot be read, or is no whole safetensors file.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Give the path of a .safetensors file.")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"{path} is no safetensors file, or only a part of one: {cause}. "
            "Get it again from where it came from."
        ) from None

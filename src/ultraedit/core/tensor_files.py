"""safetensors files for export: readable by all, refused with a reason.

What is too large for one file is written as several, the shards, and an index in JSON that says
which tensor is in which shard. Names and index are those of sharded models on the hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import refuse_existing, staged

_INDEX = ".index.json"
"""What follows the name of the whole in that of its index."""

_SHARD_NAME = re.compile(r"-\d{5}-of-\d{5}(?=(\.[^.]*)?$)")
"""What stands in the name of a shard and not in that of the whole."""


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


def index_path(path: Path) -> Path:
    """Path of the index of a file that was written as shards: ``a.safetensors.index.json``.

    Args:
        path: The name of the whole, or the index itself.
    """
    return path if path.name.endswith(_INDEX) else path.with_name(f"{path.name}{_INDEX}")


def is_sharded(path: Path) -> bool:
    """Whether a name stands for an index and its shards, and not for one file."""
    return index_path(path).is_file() and (path.name.endswith(_INDEX) or not path.exists())


def whole_name(shard: Path) -> str:
    """The name of the whole that a shard belongs to, by the name of the shard."""
    return _SHARD_NAME.sub("", shard.name)


def split_by_size(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """Distribute tensors over shards in their order; one above the limit is a shard by itself.

    Args:
        tensors: What to distribute.
        limit: Largest size of the tensors of a shard, in bytes.
    """
    shards: list[dict[str, Tensor]] = []
    size = 0
    for name, tensor in tensors.items():
        if not shards or size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def write_shards(
    path: Path,
    shards: list[dict[str, Tensor]],
    header: Mapping[str, str],
    shard_header: Mapping[str, str],
) -> None:
    """Write tensors as several files and an index, all of them or none.

    Args:
        path: The name of the whole, ``a.safetensors``: nothing of that name is written.
        shards: The tensors of each shard.
        header: Texts of the whole, which the index holds.
        shard_header: Texts for the header of every shard. ``shard``, such as ``1 of 3``, is added.

    Raises:
        ConfigError: If one of the files is already there.
        StorageError: If one cannot be written.
    """
    index, count = index_path(path), len(shards)
    files = [
        path.with_name(f"{path.stem}-{number:05d}-of-{count:05d}{path.suffix}")
        for number in range(1, count + 1)
    ]
    for file in (index, *files):
        refuse_existing(file, empty_folder=False)
    sizes = [tensor.nbytes for tensors in shards for tensor in tensors.values()]
    content = {
        "metadata": {"total_size": sum(sizes), **header},
        "weight_map": {
            name: file.name for file, shard in zip(files, shards, strict=True) for name in shard
        },
    }
    try:
        with ExitStack() as stack:
            # Left in reverse order: the index gets its name last, when all shards have theirs.
            stage = stack.enter_context(staged(index))
            stage.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
            for number, (file, shard) in enumerate(zip(files, shards, strict=True), start=1):
                stage = stack.enter_context(staged(file))
                write_tensors(stage, shard, {**shard_header, "shard": f"{number} of {count}"})
    except BaseException:
        for file in (index, *files):
            file.unlink(missing_ok=True)
        raise


def read_index(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Read an index: the texts of the whole, and the name of the shard of each tensor.

    Args:
        path: The name of the whole, or the index.

    Raises:
        StorageError: If it cannot be read, or is no index.
    """
    index = index_path(path)
    try:
        content: Any = json.loads(index.read_text("utf-8"))
        places = {str(name): str(file) for name, file in content["weight_map"].items()}
        texts = {name: text for name, text in content["metadata"].items() if isinstance(text, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"{index} is no index of safetensors files, or only a part of one: {cause}. Get it "
            "again from where it came from."
        ) from None
    outside = [file for file in places.values() if Path(file).name != file]
    if outside:
        raise StorageError(
            f"{index} names the file {outside[0]}, which is not beside it. Get it again from where "
            "it came from."
        )
    return texts, places


def shard_paths(path: Path) -> tuple[Path, ...]:
    """The files of a sharded whole without the index, in their order.

    Raises:
        StorageError: If the index cannot be read.
    """
    return tuple(path.with_name(file) for file in sorted({*read_index(path)[1].values()}))


def read_shards(path: Path) -> tuple[dict[str, Tensor], dict[str, str], list[dict[str, str]]]:
    """Read all tensors of a sharded whole, the texts of its index, and those of its shards.

    Args:
        path: The name of the whole, or the index.

    Raises:
        StorageError: If a shard is missing, cannot be read, or holds other tensors than the index
            says.
    """
    texts, places = read_index(path)
    tensors: dict[str, Tensor] = {}
    headers = []
    for file in shard_paths(path):
        if not file.is_file():
            raise StorageError(
                f"{file} is missing, one of the files that {index_path(path)} names. Get it again "
                "from where they came from."
            )
        part, header = read_tensors(file)
        if part.keys() != {name for name, place in places.items() if place == file.name}:
            raise StorageError(
                f"{file} does not hold the tensors that {index_path(path)} says it holds. Get all "
                "of the files again from where they came from."
            )
        tensors |= part
        headers.append(header)
    return tensors, texts, headers

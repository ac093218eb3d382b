"""Write a changed checkpoint: the files of the source, with other bytes where weights were edited.

A file without edited weights is shared with the source where the file system can do that, or else
copied. A file with edited weights is written anew, one tensor at a time, in the layout of the old
one. What was written is read back and compared before anything takes its place.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor

from ultraedit.core.errors import StorageError
from ultraedit.core.files import PARTIAL, REPLACED
from ultraedit.models.checkpoint import (
    CONFIG,
    INDEX,
    OTHER_WEIGHTS,
    WEIGHTS,
    CheckpointFolder,
    Header,
    Piece,
    read_header,
    read_json,
    read_tensor,
)
from ultraedit.models.quantized import leave_out_of_quantization

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger("ultraedit")

LINKED_FROM = 2**26
"""Bytes from which a file of unedited weights is a hard link to the source, where there are no
reflinks. Smaller ones are copied, and a copy stays what it is if others write to it in place; this
program itself never does."""

_BLOCK = 2**24
"""Bytes that are copied or compared at a time."""

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}
"""What safetensors calls a dtype."""

_SKIPPED = (".git", ".cache", ".ipynb_checkpoints", "__pycache__")
"""Folders of other programs inside a model's."""

_FICLONE = 0x40049409
"""ioctl of Linux by which a file shares the blocks of another until one of them is written."""


@dataclass
class Changes:
    """What becomes of the tensors of a checkpoint."""

    pieces: dict[str, list[tuple[str, Piece]]] = field(default_factory=dict)
    """For each edited tensor the weights of the model that it is made of, and their places."""

    dropped: set[str] = field(default_factory=set)
    """Scales of tensors that are no longer quantized."""

    unquantized: list[str] = field(default_factory=list)
    """Names of the modules that they belonged to, as the checkpoint and as the model has them."""

    @property
    def touched(self) -> set[str]:
        """All tensors that will not be as they are."""
        return {*self.pieces, *self.dropped}


def changes_of(checkpoint: CheckpointFolder, model: PreTrainedModel) -> Changes:
    """Find out which tensors of a checkpoint are to be rewritten.

    Raises:
        ConfigError: If a changed weight is nowhere in the checkpoint.
    """
    changes = Changes()
    for weight in checkpoint.changed(model):
        for piece in checkpoint.locate(weight):
            changes.pieces.setdefault(piece.tensor, []).append((weight, piece))
            scales = checkpoint.scales(piece.tensor)
            if scales:
                changes.dropped |= set(scales)
                for name in (piece.tensor, weight):
                    if (module := name.removesuffix(".weight")) not in changes.unquantized:
                        changes.unquantized.append(module)
    return changes


def other_files(folder: Path, weights: Sequence[str], target: Path) -> list[Path]:
    """The files of a checkpoint that hold no weights, by their path within it.

    Args:
        folder: The checkpoint.
        weights: Its files of weights.
        target: A folder that is no part of it, though it may lie inside.
    """
    return [path for path in _files(folder, weights, target) if not _has_weights(path)]


def left_out(folder: Path, weights: Sequence[str], target: Path) -> list[str]:
    """Files with unedited weights in formats that are not rewritten, by their path."""
    return [str(path) for path in _files(folder, weights, target) if _has_weights(path)]


def _has_weights(path: Path) -> bool:
    return path.suffix in OTHER_WEIGHTS and path.name != "training_args.bin"


def _files(folder: Path, weights: Sequence[str], target: Path) -> Iterator[Path]:
    """Files of a checkpoint but those that are read, by their path within it.

    Folders inside it that are another model, as the checkpoints of a training are, or lead to the
    target are no part of it.
    """
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED
            and not name.endswith((PARTIAL, REPLACED))
            and not target.is_relative_to(here.resolve() / name)
            and not _is_model(here / name)
        )
        for name in sorted(names):
            within = (here / name).relative_to(folder)
            if str(within) not in weights and (here / name).is_file():
                yield within


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any(_has_weights(path) for path in folder.iterdir())


def write_changed(
    checkpoint: CheckpointFolder,
    model: PreTrainedModel,
    changes: Changes,
    folder: Path,
    target: Path,
) -> None:
    """Write a checkpoint with the changes of a model, and check what was written.

    Args:
        checkpoint: What the model was loaded from.
        model: The model as it is now.
        changes: Its changes.
        folder: A new folder.
        target: Where it will be in the end.

    Raises:
        StorageError: If it cannot be written, or is not what it should be when it is read back.
    """
    source = checkpoint.folder
    rewritten = {checkpoint.file_of[tensor] for tensor in changes.touched}
    folder.mkdir(parents=True)
    for within in other_files(source, checkpoint.files, target):
        (folder / within).parent.mkdir(parents=True, exist_ok=True)
        _share(source / within, folder / within, linked=False)
        _compare_files(source / within, folder / within)
    for name in checkpoint.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name in rewritten:
            _rewrite(checkpoint, model, changes, name, folder / name)
        else:
            _share(source / name, folder / name, linked=True)
            _compare_files(source / name, folder / name)
    if checkpoint.files != (WEIGHTS,):
        _update_index(checkpoint, changes, rewritten, folder)
    if changes.unquantized:
        config = leave_out_of_quantization(
            read_json(source / CONFIG), changes.unquantized, _never_quantized(checkpoint, model)
        )
        _write_json(folder / CONFIG, config)
    if others := left_out(source, checkpoint.files, target):
        _log.warning(
            "Left out of the saved model, since they hold the unedited weights in other formats: "
            "%s.",
            ", ".join(others),
        )


def new_value(
    checkpoint: CheckpointFolder, model: PreTrainedModel, changes: Changes, tensor: str
) -> Tensor:
    """What an edited tensor becomes, on the CPU, in the precision that it is stored in.

    That is the precision of the source where it can hold the values of the model. Where it cannot,
    as with a model in bfloat16 that was edited in float32, it is one that can: rounding would
    lose a part of the edits, and every reader rounds to its own precision anyway.
    """
    scales = checkpoint.scales(tensor)
    places = changes.pieces[tensor]
    stored = checkpoint.tensors[tensor]
    partial = any(piece.stored != slice(None) for _, piece in places)
    parts = [(piece, _part(model.get_parameter(weight), piece)) for weight, piece in places]
    run = parts[0][1].dtype
    dtype = checkpoint.dtype if scales else _dtype_named(stored.dtype)
    if not all(_holds(dtype, part) for _, part in parts):
        dtype = torch.promote_types(dtype, run)
    if not partial:
        return parts[0][1].to(dtype).contiguous()
    value = checkpoint.read(tensor).to(run if scales else dtype).to(dtype)
    for piece, part in parts:
        value[piece.stored] = part.to(dtype)
    return value.contiguous()


def _part(weight: Tensor, piece: Piece) -> Tensor:
    """The values of a weight that a piece is about, as the checkpoint has them, on the CPU."""
    values = weight.detach().cpu()
    if piece.rows != slice(None):
        values = values[piece.rows]
    return values.T if piece.transposed else values


def _holds(dtype: torch.dtype, values: Tensor) -> bool:
    """Whether a dtype can hold values as they are."""
    again = values.to(dtype).to(values.dtype)
    return bool(((again == values) | values.isnan()).all())


def _rewrite(
    checkpoint: CheckpointFolder, model: PreTrainedModel, changes: Changes, name: str, target: Path
) -> None:
    """Write one file of weights anew, tensor by tensor, and read it back."""
    source = checkpoint.folder / name
    old, head = read_header(source)
    metadata = json.loads(head[8:]).get("__metadata__")
    kept = {tensor: header for tensor, header in old.items() if tensor not in changes.dropped}
    # Only the sizes are needed for the header, so no more than one edited tensor is in memory.
    sizes = {tensor: (header.dtype, header.end - header.start) for tensor, header in kept.items()}
    for tensor in changes.pieces.keys() & kept.keys():
        value = new_value(checkpoint, model, changes, tensor)
        sizes[tensor] = _NAMES[value.dtype], value.numel() * value.element_size()
        del value
    order = list(kept)
    if {
        tensor: (header.dtype, header.end - header.start) for tensor, header in old.items()
    } != sizes:
        # As safetensors does it: behind wider numbers every number is aligned.
        order.sort(key=lambda tensor: -_width(sizes[tensor][0]))
    new, place = {}, 0
    for tensor in order:
        dtype, size = sizes[tensor]
        new[tensor] = Header(dtype, kept[tensor].shape, place, place + size)
        place += size
    with source.open("rb") as reading, target.open("wb") as writing:
        writing.write(head if new == old else _header(new, metadata))
        for tensor in new:
            if tensor in changes.pieces:
                _write_tensor(new_value(checkpoint, model, changes, tensor), writing)
            else:
                reading.seek(len(head) + old[tensor].start)
                _copy(reading, writing, old[tensor].end - old[tensor].start)
    _check(checkpoint, model, changes, name, target)


def _check(
    checkpoint: CheckpointFolder, model: PreTrainedModel, changes: Changes, name: str, target: Path
) -> None:
    """Read a rewritten file back: nothing is missing, edited tensors are new, all others old.

    Raises:
        StorageError: If it is not so.
    """
    source = checkpoint.folder / name
    old, head = read_header(source)
    new, new_head = read_header(target)
    if set(new) != set(old) - changes.dropped:
        wrong = sorted(set(new) ^ (set(old) - changes.dropped))[0]
        raise StorageError(f"{target} was written wrongly: {wrong}. Try again.")
    with source.open("rb") as reading, target.open("rb") as written:
        for tensor, header in new.items():
            if tensor in changes.pieces:
                value = new_value(checkpoint, model, changes, tensor)
                same = same_bytes(read_tensor(target, tensor), value)
            else:
                reading.seek(len(head) + old[tensor].start)
                written.seek(len(new_head) + header.start)
                size = old[tensor].end - old[tensor].start
                same = header.end - header.start == size and _same(reading, written, size)
                same = same and header[:2] == old[tensor][:2]
            if not same:
                raise StorageError(
                    f"{tensor} was written to {target} and is another one when it is read back. "
                    "Check the disk, and try again."
                )


def same_bytes(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors of one shape have the same dtype and bytes."""
    return one.dtype == two.dtype and torch.equal(_raw(one), _raw(two))


def _raw(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _width(dtype: str) -> int:
    """Bits of a number by the name of its dtype, such as F8_E4M3; 8 for BOOL."""
    bits = re.search(r"\d+", dtype)
    return 8 if bits is None else int(bits[0])


def _write_tensor(tensor: Tensor, file: BinaryIO) -> None:
    raw = _raw(tensor).numpy()
    for start in range(0, len(raw), _BLOCK):
        file.write(raw[start : start + _BLOCK].data)


def _header(tensors: Mapping[str, Header], metadata: Any) -> bytes:
    """The header of a safetensors file: its length, its JSON, and blanks up to 8 bytes."""
    table: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    for name, (dtype, shape, start, end) in tensors.items():
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _dtype_named(name: str) -> torch.dtype:
    """The dtype of a safetensors name; float32 for one that edited weights are not kept in."""
    return next((dtype for dtype, known in _NAMES.items() if known == name), torch.float32)


def _copy(reading: BinaryIO, writing: BinaryIO, size: int) -> None:
    while size > 0:
        block = reading.read(min(size, _BLOCK))
        if not block:
            raise StorageError("The checkpoint is cut off. Get it again.")
        writing.write(block)
        size -= len(block)


def _same(one: BinaryIO, two: BinaryIO, size: int) -> bool:
    while size > 0:
        count = min(size, _BLOCK)
        block = one.read(count)
        if len(block) != count or block != two.read(count):
            return False
        size -= count
    return True


def _share(source: Path, target: Path, *, linked: bool) -> None:
    """Give a file a second place: a reflink, a hard link if that may be and it is large, or a copy.

    Only what nothing here writes to again may be a link.
    """
    source = source.resolve()  # the hub keeps links to its files
    if _reflink(source, target):
        return
    if linked and source.stat().st_size >= LINKED_FROM:
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # another disk, or one without links
    shutil.copyfile(source, target)


def _reflink(source: Path, target: Path) -> bool:
    try:
        from fcntl import ioctl
    except ImportError:
        return False
    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            ioctl(writing.fileno(), _FICLONE, reading.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def _compare_files(source: Path, target: Path) -> None:
    """Check that a shared or copied file is the source.

    Raises:
        StorageError: If it is not.
    """
    if source.samefile(target):
        return
    size = source.stat().st_size
    with source.open("rb") as one, target.open("rb") as two:
        if target.stat().st_size != size or not _same(one, two, size):
            raise StorageError(f"{target} is not what {source} is. Check the disk, and try again.")


def _update_index(
    checkpoint: CheckpointFolder, changes: Changes, rewritten: set[str], folder: Path
) -> None:
    """Take dropped tensors out of the index, and note the new size; leave it if neither changed."""
    index = read_json(checkpoint.folder / INDEX)
    table = {n: file for n, file in index["weight_map"].items() if n not in changes.dropped}
    grown = sum(
        _data_size(folder / file) - _data_size(checkpoint.folder / file) for file in rewritten
    )
    if not grown and table == index["weight_map"]:
        return
    metadata = dict(index.get("metadata") or {})
    if isinstance(metadata.get("total_size"), int):
        metadata["total_size"] += grown
    _write_json(folder / INDEX, index | {"metadata": metadata, "weight_map": table})


def _data_size(path: Path) -> int:
    return sum(header.end - header.start for header in read_header(path)[0].values())


def _never_quantized(checkpoint: CheckpointFolder, model: PreTrainedModel) -> list[str]:
    """Modules whose matrices the checkpoint does not quantize, the output head among them."""
    stored = [
        name.removesuffix(".weight")
        for name, header in checkpoint.tensors.items()
        if name.endswith(".weight")
        and len(header.shape) == 2
        and not header.dtype.startswith("F8_")
    ]
    head = model.get_output_embeddings()
    paths = [path for path, module in model.named_modules() if module is head and head is not None]
    return [*stored, *(path for path in paths if path not in stored)]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""GGUF files as templates: read the header, copy everything, replace single tensors.

Layout (version 3, little-endian): magic, version, number of tensors, number of metadata entries;
the entries; per tensor its name, dimensions, type and offset; then the data of the tensors, each
padded to ``general.alignment`` bytes. Source: the GGUF specification of ggml (docs/gguf.md).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from gguf import GGML_QUANT_SIZES, dequantize, quantize
from gguf import GGMLQuantizationType as Kind

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import begins_with

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
"""Bytes that tensors are aligned to where the file does not say."""

_STRING, _ARRAY = 8, 9
_SCALARS = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"},
    **{10: "Q", 11: "q", 12: "d"},
}
"""Codes of the metadata's types, as `struct` calls them."""

_BLOCK = 1 << 24
"""Bytes that are copied or compared at a time."""


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file, by its first bytes."""
    return begins_with(path, _MAGIC)


class GgufTensor(NamedTuple):
    """A tensor of a file."""

    name: str

    shape: tuple[int, ...]
    """Longest stride first, as torch has it: (d_out, d_in) of a linear layer."""

    kind: Kind
    """How its numbers are stored, such as ``F16`` or ``Q4_1``."""

    offset: int
    """Where its bytes begin in the file."""

    size: int
    """Number of its bytes."""


class Replacement(NamedTuple):
    """What takes the place of a tensor."""

    kind: Kind

    make: Callable[[], np.ndarray[Any, Any]]
    """Gives the numbers, encoded as `kind`. Called when they are written, so that one tensor at a
    time is in memory."""


class GgufFile:
    """The header of a GGUF file, and its tensors where they lie on the disk."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            ConfigError: If it is no GGUF file, a part of a split one, or of a kind not known here.
            StorageError: If it is cut off or damaged.
        """
        if not path.is_file():
            raise ConfigError(f"There is no file {path}. Give the path of a .gguf file.")
        self.path = path
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
            if magic != _MAGIC:
                raise ConfigError(
                    f"{path} is not a GGUF file: it does not start with the letters GGUF. "
                    "Give the path of a .gguf file."
                )
            # The map outlives the handle.
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._read_header()
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            raise _damaged(path) from error
        self._check()

    def _read_header(self) -> None:
        version, tensors, entries = self._unpack("IQQ", len(_MAGIC))
        if version not in _VERSIONS:
            raise ConfigError(
                f"{self.path} is GGUF of version {version}, or of a machine with another order of "
                "bytes; versions 2 and 3 in little-endian order are read. Convert it again."
            )
        self.version = version
        at = len(_MAGIC) + struct.calcsize("<IQQ")
        self._entries: dict[str, tuple[int, int, int, int]] = {}  # start, kind, value, end
        for _ in range(entries):
            start = at
            key, at = self._string(at)
            (kind,) = self._unpack("I", at)
            value, at = at + 4, self._skip(kind, at + 4)
            self._entries[key] = start, kind, value, at
        alignment = self.value("general.alignment")
        self.alignment = _ALIGNMENT if alignment is None else int(alignment)
        if self.alignment < 1:
            raise _damaged(self.path)
        rows = []
        for _ in range(tensors):
            name, at = self._string(at)
            (count,) = self._unpack("I", at)
            *sizes, code, offset = self._unpack(f"{count}QIQ", at + 4)
            at += 4 + 8 * count + 12
            rows.append((name, tuple(reversed(sizes)), code, offset))
        data = _padded(at, self.alignment)
        self.tensors: dict[str, GgufTensor] = {}
        for name, shape, code, offset in rows:
            try:
                kind = Kind(code)
            except ValueError:
                raise ConfigError(
                    f"{self.path} stores {name} in type {code} of ggml, which the package gguf "
                    "does not know. Run `pip install --upgrade gguf`."
                ) from None
            size = stored_bytes(shape, kind)
            self.tensors[name] = GgufTensor(name, shape, kind, data + offset, size)

    def _check(self) -> None:
        parts = self.value("split.count") or 1
        if parts > 1:
            raise ConfigError(
                f"{self.path} is one of {parts} parts of a split file. Join them first: "
                f"`llama-gguf-split --merge {self.path.name} joined.gguf`."
            )
        end = max((t.offset + t.size for t in self.tensors.values()), default=0)
        if end > len(self._bytes):
            raise _damaged(self.path)

    def _unpack(self, layout: str, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(f"<{layout}", self._bytes, at)

    def _string(self, at: int) -> tuple[str, int]:
        (length,) = self._unpack("Q", at)
        end = at + 8 + length
        if end > len(self._bytes):
            raise _damaged(self.path)
        return self._bytes[at + 8 : end].decode("utf-8"), end

    def _skip(self, kind: int, at: int) -> int:
        """Where the value of a metadata entry ends."""
        if kind == _STRING:
            (length,) = self._unpack("Q", at)
            return int(at + 8 + length)
        if kind == _ARRAY:
            inner, count = self._unpack("IQ", at)
            at += 12
            if inner in _SCALARS:
                return int(at + count * struct.calcsize(f"<{_SCALARS[inner]}"))
            for _ in range(count):
                at = self._skip(inner, at)
            return at
        if kind not in _SCALARS:
            raise _damaged(self.path)
        return at + struct.calcsize(f"<{_SCALARS[kind]}")

    def value(self, key: str) -> Any:
        """A text or number of the metadata, a list of them, or None where there is none."""
        if key not in self._entries:
            return None
        _, kind, at, _ = self._entries[key]
        return self._decode(kind, at)

    def _decode(self, kind: int, at: int) -> Any:
        if kind == _STRING:
            return self._string(at)[0]
        if kind != _ARRAY:
            return self._unpack(_SCALARS[kind], at)[0]
        inner, count = self._unpack("IQ", at)
        at, values = at + 12, []
        for _ in range(count):
            values.append(self._decode(inner, at))
            at = self._skip(inner, at)
        return values

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all metadata, in their order."""
        return tuple(self._entries)

    @property
    def is_adapter(self) -> bool:
        """Whether it holds an adapter, and not a model."""
        return bool(self.value("general.type") == "adapter")

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the architecture, such as ``llama``."""
        return str(self.value("general.architecture") or "")

    def of_architecture(self, name: str) -> Any:
        """A value of the model's own metadata, such as ``block_count``."""
        return self.value(f"{self.architecture}.{name}")

    def raw(self, name: str) -> memoryview:
        """The bytes of a tensor, not copied."""
        tensor = self.tensors[name]
        return memoryview(self._bytes)[tensor.offset : tensor.offset + tensor.size]

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a tensor, a part at a time.

        They are read and not mapped: mapped pages would count as this process's memory.
        """
        tensor = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(tensor.offset)
            for at in range(0, tensor.size, _BLOCK):
                yield file.read(min(_BLOCK, tensor.size - at))

    def weight(self, name: str) -> np.ndarray[Any, Any]:
        """The numbers of a tensor. float32, in its shape.

        They are read and not mapped, as those of `blocks`.

        Raises:
            ConfigError: If the package gguf cannot unpack its type.
        """
        tensor = self.tensors[name]
        raw = np.fromfile(self.path, np.uint8, tensor.size, offset=tensor.offset)
        return decoded(raw, tensor.kind, tensor.shape)

    def entries(self, without: str) -> Iterator[bytes]:
        """The metadata entries as they are stored, but for those whose names begin so."""
        for key, (start, _, _, end) in self._entries.items():
            if not key.startswith(without):
                yield self._bytes[start:end]

    @property
    def tail(self) -> bytes:
        """What follows the last tensor."""
        end = max((t.offset + t.size for t in self.tensors.values()), default=len(self._bytes))
        return self._bytes[end:]


def refuse_adapter(path: Path) -> None:
    """Check that a GGUF file is no adapter: of one, transformers would make up a model.

    Raises:
        ConfigError: If it is.
    """
    if is_gguf(path) and GgufFile(path).is_adapter:
        raise ConfigError(
            f"{path} is an adapter, not a model. Give the model that it was made for; llama.cpp "
            f"takes both with `-m MODEL.gguf --lora {path.name}`."
        )


def write_like(
    base: GgufFile,
    path: Path,
    replaced: Mapping[str, Replacement],
    metadata: Mapping[str, str],
    prefix: str = "ultraedit.",
) -> None:
    """Write a copy of a file with some tensors replaced, one tensor in memory at a time.

    Without a replacement and without metadata the copy has the same bytes.

    Args:
        base: The file to copy.
        path: A new file.
        replaced: By name of a tensor what takes its place, in the same shape.
        metadata: Texts to add, by their names without `prefix`.
        prefix: What their names begin with. Entries of the base file that begin so are left out.
    """
    kept = list(base.entries(prefix)) if metadata else list(base.entries("\0"))
    added = [_entry(f"{prefix}{key}", value) for key, value in metadata.items()]
    kinds = {
        name: replaced[name].kind if name in replaced else tensor.kind
        for name, tensor in base.tensors.items()
    }
    order = sorted(base.tensors.values(), key=lambda tensor: tensor.offset)
    offsets, at = {}, 0
    for tensor in order:
        offsets[tensor.name] = at
        at = _padded(at + stored_bytes(tensor.shape, kinds[tensor.name]), base.alignment)
    with path.open("wb") as out:
        counts = struct.pack("<IQQ", base.version, len(base.tensors), len(kept) + len(added))
        out.write(_MAGIC + counts)
        for entry in (*kept, *added):
            out.write(entry)
        for name, tensor in base.tensors.items():
            out.write(_info(name, tensor.shape, kinds[name], offsets[name]))
        _pad(out, base.alignment)
        for index, tensor in enumerate(order):
            if tensor.name in replaced:
                _write(out, replaced[tensor.name].make().data.cast("B"))
            else:
                for block in base.blocks(tensor.name):
                    out.write(block)
            if index < len(order) - 1:
                _pad(out, base.alignment)
        # Some writers pad behind the last tensor, others do not; so does the copy.
        if order and order[-1].name in replaced:
            if base.tail:
                _pad(out, base.alignment)
        else:
            out.write(base.tail)


def same_bytes(one: GgufFile, other: GgufFile, name: str) -> bool:
    """Whether a tensor has the same type, shape and bytes in two files."""
    ours, theirs = one.tensors[name], other.tensors[name]
    if (ours.kind, ours.shape) != (theirs.kind, theirs.shape):
        return False
    return all(a == b for a, b in zip(one.blocks(name), other.blocks(name), strict=True))


def stored_bytes(shape: tuple[int, ...], kind: Kind) -> int:
    """Number of bytes of a tensor of a shape in a type."""
    block, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape, dtype=np.int64)) // int(block) * int(size)


def fits(shape: tuple[int, ...], kind: Kind) -> bool:
    """Whether rows of that length can be stored in a type, whose numbers come in blocks."""
    block: int = GGML_QUANT_SIZES[kind][0]
    return int(shape[-1]) % block == 0


def encoded(weight: np.ndarray[Any, Any], kind: Kind) -> np.ndarray[Any, Any]:
    """Encode float32 numbers as a type.

    Raises:
        ConfigError: If the package gguf cannot write that type, as with the K- and IQ-types.
    """
    try:
        return np.ascontiguousarray(quantize(weight, kind))
    except NotImplementedError:
        raise ConfigError(
            f"The package gguf cannot write {kind.name}. Give --type f16 or q8_0."
        ) from None


def decoded(
    raw: memoryview | np.ndarray[Any, Any], kind: Kind, shape: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    """Unpack numbers to float32, in a shape.

    Raises:
        ConfigError: If the package gguf cannot unpack that type.
    """
    flat = np.frombuffer(raw, np.uint8) if isinstance(raw, memoryview) else raw.view(np.uint8)
    block, size = GGML_QUANT_SIZES[kind]
    rows = flat.reshape(*shape[:-1], int(shape[-1]) // block * size)
    try:
        return np.asarray(dequantize(rows, kind), np.float32).reshape(shape)
    except NotImplementedError:
        raise ConfigError(
            f"The package gguf cannot unpack {kind.name}. Run `pip install --upgrade gguf`, or "
            "take another file as the base."
        ) from None


def write_new(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Write a new file of float32 tensors.

    Args:
        path: A new file.
        metadata: Texts, whole numbers (32 bits) and floats by name.
        tensors: numpy arrays by name.
    """
    entries = [_entry(key, value) for key, value in metadata.items()]
    offsets, at = {}, 0
    for name, tensor in tensors.items():
        offsets[name] = at
        at = _padded(at + tensor.nbytes, _ALIGNMENT)
    with path.open("wb") as out:
        out.write(_MAGIC + struct.pack("<IQQ", max(_VERSIONS), len(tensors), len(entries)))
        for entry in entries:
            out.write(entry)
        for name, tensor in tensors.items():
            out.write(_info(name, tensor.shape, Kind.F32, offsets[name]))
        _pad(out, _ALIGNMENT)
        for tensor in tensors.values():
            _write(out, np.ascontiguousarray(tensor, np.float32).data.cast("B"))
            _pad(out, _ALIGNMENT)


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"{path} is damaged, or only a part of a GGUF file. Get it again from where it came from."
    )


def _padded(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment


def _pad(out: BinaryIO, alignment: int) -> None:
    out.write(bytes(_padded(out.tell(), alignment) - out.tell()))


def _write(out: BinaryIO, raw: memoryview) -> None:
    for at in range(0, len(raw), _BLOCK):
        out.write(raw[at : at + _BLOCK])


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _entry(key: str, value: str | int | float) -> bytes:
    """One metadata entry as it is stored."""
    if isinstance(value, str):
        return _text(key) + struct.pack("<I", _STRING) + _text(value)
    kind, layout = (6, "f") if isinstance(value, float) else (4, "I")
    return _text(key) + struct.pack(f"<I{layout}", kind, value)


def _info(name: str, shape: tuple[int, ...], kind: Kind, offset: int) -> bytes:
    """Name, dimensions, type and offset of a tensor as they are stored."""
    sizes = tuple(reversed(shape))
    return _text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)

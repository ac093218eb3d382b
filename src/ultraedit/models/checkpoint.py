"""The checkpoint that a model was loaded from: its files, and where in them each weight is stored.

transformers renames weights on loading, joins and splits them, and takes the language model out of
a checkpoint with an image encoder. Where a weight of the model is stored is therefore found by its
name and then proved by its values: every weight is identified by a hash when it is loaded, and a
stored tensor is the right one if it has the same hash in the precision of the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.models.fingerprint import digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"

OTHER_WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".npz"),
    *(".gguf", ".onnx", ".onnx_data", ".tflite"),
)
"""Endings of files with weights in other formats, which would stay unedited."""

SCALES = ("_scale_inv", "_scale")
"""What the name of a scale adds to that of its float8 weight; some write ``.scale`` alone."""

_UNQUANTIZED = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

_MOST_JOINED = 4
"""Most stored tensors that are joined into one weight: queries, keys, values and a gate."""


class Piece(NamedTuple):
    """A stored tensor, or some of its rows, that a weight or some of its rows is read from."""

    tensor: str
    """Name in the checkpoint."""

    stored: slice = slice(None)
    """Rows of the stored tensor."""

    rows: slice = slice(None)
    """Rows of the weight."""

    transposed: bool = False
    """Whether the stored tensor is the transpose of the weight."""


class Header(NamedTuple):
    """What a safetensors file says of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Of its bytes in the data of the file."""
    end: int


class CheckpointFolder:
    """A folder with safetensors, and the weights as they were loaded from it."""

    def __init__(self, folder: Path, model: PreTrainedModel) -> None:
        """Note what the model was loaded with.

        Args:
            folder: The folder, as transformers reads it.
            model: The model, loaded from it and not edited yet. Weights that are not in memory are
                left out: they cannot be edited.

        Raises:
            ConfigError: If the folder holds no safetensors.
            StorageError: If one of them cannot be read.
        """
        self.folder = folder
        self.reread(model)

    def reread(self, model: PreTrainedModel) -> None:
        """Note what the folder holds, and that it is what a model has now.

        Args:
            model: The model, just loaded from the folder or saved there.
        """
        self.files = weight_files(self.folder)
        self.tensors: dict[str, Header] = {}
        """What the files hold, by name."""
        self.file_of: dict[str, str] = {}
        for file in self.files:
            for name, header in read_header(self.folder / file)[0].items():
                self.tensors[name], self.file_of[name] = header, file
        self._located: dict[str, tuple[Piece, ...]] = {}
        self._digests = _digests(model)
        self._shapes = {
            name: (weight.shape, weight.dtype)
            for name, weight in model.named_parameters(remove_duplicate=False)
        }
        self._stamps = self._stamp()

    def changed(self, model: PreTrainedModel) -> list[str]:
        """Names of the weights that are no longer what they were when the model was loaded.

        Raises:
            ConfigError: If the model has other weights than it had.
        """
        now = _digests(model)
        strange = sorted(set(now) ^ set(self._digests))
        if strange:
            raise ConfigError(
                f"{strange[0]} was added to the model or taken from it after it was loaded from "
                f"{self.folder}, so it cannot be saved as a change of that checkpoint. Save it "
                "with its own save_pretrained."
            )
        return [name for name, known in self._digests.items() if now[name] != known]

    def check_unchanged(self) -> None:
        """Check that the files are those that the model was loaded from.

        Raises:
            StorageError: If one of them is gone or was written since.
        """
        for file, stamp in self._stamp().items():
            if stamp is None or stamp != self._stamps[file]:
                what = "is gone" if stamp is None else "has changed"
                raise StorageError(
                    f"{self.folder / file} {what} since the model was loaded from it, and a saved "
                    "model is that checkpoint with the edited tensors changed. Put it back and "
                    "save again."
                )

    def _stamp(self) -> dict[str, tuple[int, int] | None]:
        """Size and time of each file; None of one that is not there."""
        stamps: dict[str, tuple[int, int] | None] = {}
        for file in (*self.files, CONFIG):
            try:
                stat = (self.folder / file).stat()
            except OSError:
                stamps[file] = None
            else:
                stamps[file] = stat.st_size, stat.st_mtime_ns
        return stamps

    @property
    def dtype(self) -> torch.dtype:
        """Precision that the config names for weights that are not quantized, else bfloat16."""
        config = read_json(self.folder / CONFIG)
        for part in (config, config.get("text_config") or {}):
            name = part.get("dtype") or part.get("torch_dtype")
            dtype = getattr(torch, name, None) if isinstance(name, str) else None
            if isinstance(dtype, torch.dtype) and dtype in _UNQUANTIZED:
                return dtype
        return torch.bfloat16

    def locate(self, weight: str) -> tuple[Piece, ...]:
        """Find where a weight of the model is stored.

        Args:
            weight: Its name in the model, such as ``model.layers.0.mlp.down_proj.weight``.

        Returns:
            The stored tensors that it was read from, most often a single one, whole.

        Raises:
            ConfigError: If no tensors are found with the values that were loaded.
        """
        if weight not in self._located:
            pieces = next(self._matches(weight), None)
            if pieces is None:
                raise ConfigError(
                    f"{weight.removesuffix('.weight')} cannot be edited: no tensor of "
                    f"{self.folder} has its values, so an edited one could not be saved there. "
                    "Choose other modules."
                )
            self._located[weight] = pieces
        return self._located[weight]

    def _matches(self, weight: str) -> Iterator[tuple[Piece, ...]]:
        """Pieces with the values that a weight was loaded with, the likeliest names first."""
        shape, dtype = self._shapes[weight]
        for pieces in self._candidates(weight, tuple(shape)):
            parts = [_rows(self.read(p.tensor).to(dtype), p) for p in pieces]
            whole = parts[0] if len(parts) == 1 else torch.cat(parts)
            if whole.shape == shape and digest(whole) == self._digests[weight]:
                yield pieces

    def _candidates(self, weight: str, shape: tuple[int, ...]) -> Iterator[tuple[Piece, ...]]:
        """Ways to store a weight of a shape, the likeliest first."""
        ranked = sorted(self.tensors, key=lambda name: (-_same_end(name, weight), name))
        near = [name for name in ranked if _numbers(name) == _numbers(weight)]
        far = [name for name in ranked if _numbers(name) != _numbers(weight)]
        yield from self._whole(near, shape)
        if len(shape) in (1, 2):
            yield from self._slices(near, shape)
            yield from self._joined(near, shape)
        yield from self._whole(far, shape)

    def _whole(self, names: Sequence[str], shape: tuple[int, ...]) -> Iterator[tuple[Piece, ...]]:
        for name in names:
            stored = self.tensors[name].shape
            if stored == shape:
                yield (Piece(name),)
            if len(shape) == 2 and stored == shape[::-1]:
                yield (Piece(name, transposed=True),)

    def _slices(self, names: Sequence[str], shape: tuple[int, ...]) -> Iterator[tuple[Piece, ...]]:
        """Rows of a tensor that is several matrices in one, such as queries, keys and values."""
        for name in names:
            stored = self.tensors[name].shape
            if stored[1:] != shape[1:] or len(stored) != len(shape) or stored[0] <= shape[0]:
                continue
            steps = range(0, stored[0] - shape[0] + 1, max(shape[0], 1))
            # Counted from either end: where the parts differ in size, they are large ones first.
            starts = {start for step in steps for start in (step, stored[0] - shape[0] - step)}
            for start in sorted(starts):
                yield (Piece(name, slice(start, start + shape[0])),)

    def _joined(self, names: Sequence[str], shape: tuple[int, ...]) -> Iterator[tuple[Piece, ...]]:
        """Tensors of one module of the checkpoint that are joined into one weight."""
        groups: dict[str, list[str]] = {}
        for name in names:
            stored = self.tensors[name].shape
            if len(stored) == len(shape) and stored[1:] == shape[1:] and stored[0] < shape[0]:
                groups.setdefault(name.rsplit(".", 2)[0], []).append(name)
        for group in groups.values():
            for count in range(2, min(len(group), _MOST_JOINED) + 1):
                for parts in permutations(group, count):
                    sizes = [self.tensors[part].shape[0] for part in parts]
                    if sum(sizes) != shape[0]:
                        continue
                    ends = [sum(sizes[: place + 1]) for place in range(count)]
                    yield tuple(
                        Piece(part, rows=slice(end - size, end))
                        for part, size, end in zip(parts, sizes, ends, strict=True)
                    )

    def scales(self, name: str) -> tuple[str, ...]:
        """Names of the tensors that scale a stored float8 tensor; none where it is not quantized.

        The first is the scale of the weight; a scale of its inputs may follow.
        """
        if not self.tensors[name].dtype.startswith("F8_") or not name.endswith(".weight"):
            return ()
        base = name.removesuffix("weight")
        first = (
            *(f"{name}{ending}" for ending in SCALES),
            *(f"{base}{word}" for word in ("scale", "qscale_weight")),
        )
        inputs = (f"{base}{word}" for word in ("activation_scale", "input_scale", "qscale_act"))
        weight = [scale for scale in first if scale in self.tensors][:1]
        return (*weight, *(scale for scale in inputs if scale in self.tensors)) if weight else ()

    def read(self, name: str) -> Tensor:
        """A stored tensor, in float32 where it is quantized to float8."""
        tensor = self._raw(name)
        scales = self.scales(name)
        return _dequantized(tensor, self._raw(scales[0])) if scales else tensor

    def _raw(self, name: str) -> Tensor:
        return read_tensor(self.folder / self.file_of[name], name)


def weight_files(folder: Path) -> tuple[str, ...]:
    """The safetensors that transformers reads of a folder, without their folder.

    Raises:
        ConfigError: If there are none.
        StorageError: If the index cannot be read.
    """
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (folder / INDEX).is_file():
        raise ConfigError(f"{folder} holds neither {WEIGHTS} nor {INDEX}.")
    table = read_json(folder / INDEX).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise StorageError(f"{folder / INDEX} does not say where weights are. Get it again.")
    return tuple(sorted(set(table.values())))


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        StorageError: If it cannot be read.
    """
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"Cannot read {path}: {error}. Get it again.") from None


def read_header(path: Path) -> tuple[dict[str, Header], bytes]:
    """Read what a safetensors file says of its tensors.

    Args:
        path: The file.

    Returns:
        Its tensors by name, in the order of their bytes, and the bytes of the header: its length,
        its JSON, and the blanks behind.

    Raises:
        StorageError: If it is no such file, or cut off.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            size = int.from_bytes(head, "little")
            if len(head) < 8 or size > path.stat().st_size:
                raise ValueError("it is cut off")
            text = file.read(size)
        table: dict[str, Any] = json.loads(text)
        tensors = {
            name: Header(entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
            for name, entry in table.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"Cannot read {path}: {error}. Get it again.") from None
    ordered = sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end))
    return dict(ordered), head + text


def read_tensor(path: Path, name: str) -> Tensor:
    """Read one tensor of a safetensors file.

    Raises:
        StorageError: If it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"Cannot read {name} of {path}: {error}. Get it again.") from None
    return tensor


def _digests(model: PreTrainedModel) -> Mapping[str, bytes]:
    """Hash of each weight that is in memory, by all of its names."""
    known: dict[int, bytes] = {}
    digests: dict[str, bytes] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if weight.is_meta:
            continue
        if id(weight) not in known:
            known[id(weight)] = digest(weight.detach())
        digests[name] = known[id(weight)]
    return digests


def _rows(stored: Tensor, piece: Piece) -> Tensor:
    """The rows of a stored tensor that a piece is about, as the weight has them."""
    part = stored[piece.stored] if stored.ndim else stored
    return part.T if piece.transposed else part


def _dequantized(tensor: Tensor, scale: Tensor) -> Tensor:
    """A float8 matrix times the scales of its blocks, float32.

    Args:
        tensor: Shape (rows, columns).
        scale: One for all, or one for each block of a grid over the matrix, whose blocks are of
            the same size. float8_e8m0fnu holds powers of two; so does uint8, as exponents.
    """
    values = tensor.float()
    factors = (scale.float() - 127).exp2() if scale.dtype == torch.uint8 else scale.float()
    grid = factors.reshape(1, 1) if factors.numel() == 1 else factors
    if grid.ndim != 2 or tensor.shape[0] % grid.shape[0] or tensor.shape[1] % grid.shape[1]:
        return values  # no grid that transformers knows: the values will match no weight
    rows, columns = tensor.shape[0] // grid.shape[0], tensor.shape[1] // grid.shape[1]
    blocks = values.reshape(grid.shape[0], rows, grid.shape[1], columns)
    return (blocks * grid[:, None, :, None]).reshape(tensor.shape)


def _same_end(name: str, other: str) -> int:
    """How many of the last parts two names have in common."""
    count = 0
    for one, two in zip(reversed(name.split(".")), reversed(other.split(".")), strict=False):
        if one != two:
            break
        count += 1
    return count


def _numbers(name: str) -> list[str]:
    """The numbers that stand alone in a name: of a layer, of an expert."""
    return re.findall(r"(?<![^.])\d+(?![^.])", name)

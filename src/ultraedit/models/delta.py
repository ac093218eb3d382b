"""The change of a run by itself, put on the same base model anywhere.

It is one safetensors file, or several with an index where it is larger than a limit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError, DataError, StorageError
from ultraedit.core.files import refuse_existing, staged
from ultraedit.core.tensor_files import (
    index_path,
    is_sharded,
    read_shards,
    read_tensors,
    shard_paths,
    split_by_size,
    whole_name,
    write_shards,
    write_tensors,
)
from ultraedit.core.types import Additive
from ultraedit.models import find_modules, fingerprint
from ultraedit.models.weights import EditedWeights

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

FORMAT = 1
"""Version of the file's layout. A reader refuses what is newer than itself."""

_MARK = "ultraedit_delta"
"""Key in the header whose presence makes a safetensors file a delta; its value is `FORMAT`."""

_SHARD_MARK = "ultraedit_delta_shard"
"""Key in the header of a shard of a delta; its value is the hash of the whole delta."""

SHARD_BYTES = 5 * 10**9
"""Size above which a delta is written as several files. As the hub's client does it."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What a run changed, and what it changed it in."""

    changes: Mapping[str, Tensor]
    """Per module path the sum of all patches. float32, shape (d_in, d_out)."""

    base: str
    """Name of the model that was edited, as the user gave it."""

    fingerprint: str
    """`models.fingerprint` of that model before its edits."""

    dtype: str
    """Precision of that model, such as ``bfloat16``: in another one it has other weights."""

    editor: str
    edits: int
    turns: int

    created: str = ""
    """When the delta was made, ISO 8601 in UTC. Empty takes the present time."""

    version: str = ""
    """Version of this package that made it. Empty takes this one."""

    facts: str = ""
    """Hash of the facts that hold; empty in files of older versions."""

    scores: str = ""
    """Teacher-forced scores after the last turn, as JSON; empty where it was not scored."""

    source: str = "the delta"
    """What messages call it: its path, where it comes from a file."""

    def __post_init__(self) -> None:
        """Fill in when and by what it was made."""
        if not self.created:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            object.__setattr__(self, "created", now)
        if not self.version:
            object.__setattr__(self, "version", version("ultraedit"))

    @property
    def about(self) -> dict[str, str]:
        """All but the changes, as the header of the file has it."""
        return {name: str(getattr(self, name)) for name in _ABOUT}


_ABOUT = tuple(f.name for f in fields(Delta) if f.name not in ("changes", "source"))
"""The fields that the header holds as texts."""

_LATER = ("facts", "scores")
"""Those that the files of older versions lack."""


def save_delta(delta: Delta, path: Path, *, shard_bytes: int = SHARD_BYTES) -> tuple[Path, ...]:
    """Write a delta, whole or not at all.

    Args:
        delta: The delta.
        path: A new file, ``facts.safetensors``. Where its changes are larger than `shard_bytes`,
            ``facts-00001-of-00003.safetensors`` and so on and ``facts.safetensors.index.json`` are
            written instead, and `path` is still the name that reads it.
        shard_bytes: Largest size of the changes in one file. That of a single module is not split.

    Returns:
        The files that were written.

    Raises:
        ConfigError: If there is something at `path` already.
        StorageError: If it cannot be written.
    """
    changes = {name: change.float() for name, change in sorted(delta.changes.items())}
    digest = _sha256(changes)
    header = {_MARK: str(FORMAT), "sha256": digest} | delta.about
    for taken in (path, index_path(path)):
        refuse_existing(taken, empty_folder=False)
    shards = split_by_size(changes, shard_bytes)
    if len(shards) > 1:
        write_shards(path, shards, header, {_SHARD_MARK: digest})
        return delta_files(path)
    with staged(path) as stage:
        write_tensors(stage, changes, header)
    return (path,)


def is_delta_path(path: Path) -> bool:
    """Whether a path may be that of a delta: a file, or the name of one that is sharded."""
    return path.is_file() or is_sharded(path)


def delta_files(path: Path) -> tuple[Path, ...]:
    """The files of a delta: itself, or its shards and their index."""
    return (*shard_paths(path), index_path(path)) if is_sharded(path) else (path,)


def load_delta(path: Path) -> Delta:
    """Read a delta, checking that every byte of it is as it was written.

    Args:
        path: Its file. Of a sharded one the name that it was written by, or its index.

    Raises:
        ConfigError: If there is no such file.
        DataError: If it is no delta, or was made by a newer version of this package.
        StorageError: If it is cut off or damaged, or one of its shards is missing.
    """
    changes, header = _read_shards(path) if is_sharded(path) else read_tensors(path)
    about = _read_header(path, header)
    if not changes:
        raise DataError(f"The delta {path} changes no module. Export it again.")
    if header["sha256"] != _sha256(changes):
        raise StorageError(
            f"The delta {path} is damaged: its changes are not those that were written. "
            "Get it again from where it came from."
        )
    for name, change in changes.items():
        if change.dtype != torch.float32 or change.ndim != 2 or not change.isfinite().all():
            raise DataError(
                f"The delta {path} changes {name} by something other than a matrix of finite "
                "float32 numbers. Export it again."
            )
    return Delta(changes=changes, source=str(path), **about)


def _read_shards(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The changes of a sharded delta, and the texts of its index."""
    changes, header, of_shards = read_shards(path)
    for file, of_shard in zip(shard_paths(path), of_shards, strict=True):
        if of_shard.get(_SHARD_MARK) != header.get("sha256"):
            raise StorageError(
                f"{file} is no part of the delta {path}, but of another one. Get all of its files "
                "again from where they came from."
            )
    return changes, header


def _read_header(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a delta that its header holds."""
    if _SHARD_MARK in header:
        raise DataError(
            f"{path} is a part of a delta, {header.get('shard', 'one of several')}. Give "
            f"{path.with_name(whole_name(path))}, with all parts and the index in that folder."
        )
    if _MARK not in header:
        raise DataError(
            f"{path} is a safetensors file but no delta: its header has no {_MARK!r}. "
            "Make one with `ultraedit export DIR --as delta`."
        )
    if header[_MARK] != str(FORMAT):
        raise DataError(
            f"{path} is a delta of format {header[_MARK]}, made by ultraedit "
            f"{header.get('version', 'of another version')}; this version reads format {FORMAT}. "
            "Run `pip install --upgrade ultraedit`."
        )
    missing = [name for name in (*_ABOUT, "sha256") if name not in (*header, *_LATER)]
    if missing:
        raise DataError(f"The header of the delta {path} has no {missing[0]!r}. Export it again.")
    return _fields(header, f"the delta {path}")


def _fields(header: Mapping[str, str], source: str) -> dict[str, Any]:
    about: dict[str, Any] = {name: header.get(name, "") for name in _ABOUT}
    for name in ("edits", "turns"):
        if not header[name].isdecimal():
            raise DataError(
                f"The header of {source} counts {header[name]!r} {name}. Export it again."
            )
        about[name] = int(header[name])
    return about


def about_of(header: Mapping[str, str], source: str) -> dict[str, Any]:
    """The fields of a delta but its changes, from the header of any file that has them.

    Raises:
        DataError: If one is missing or cannot be read.
    """
    missing = [name for name in _ABOUT if name not in (*header, *_LATER)]
    if missing:
        raise DataError(
            f"{source} does not say where it comes from: its header has no {missing[0]!r}. Export "
            "it again."
        )
    return _fields(header, source)


def combine(deltas: Sequence[Delta], signs: Sequence[int]) -> dict[str, Tensor]:
    """Add and subtract deltas, in the order given, in float32.

    Args:
        deltas: The deltas. A module that only some of them change is unchanged by the others.
        signs: 1 to add and -1 to subtract, one a delta.

    Returns:
        Per module path the change. Shape (d_in, d_out).

    Raises:
        DataError: If two of them change a module of different shapes.
    """
    total: dict[str, Tensor] = {}
    for delta, sign in zip(deltas, signs, strict=True):
        for path, change in delta.changes.items():
            term = change.float() * sign
            if path in total and total[path].shape != term.shape:
                raise DataError(
                    f"{delta.source} changes {path} in the shape {tuple(term.shape)}, another "
                    f"delta in {tuple(total[path].shape)}. They are of different models."
                )
            total[path] = total[path] + term if path in total else term
    return total


@torch.no_grad()
def apply_delta(
    language_model: LanguageModel, deltas: Sequence[Delta], signs: Sequence[int] | None = None
) -> None:
    """Change a model's weights as the runs did that the deltas are from.

    The weight becomes ``(base.float() + change).to(dtype)``: for one delta that is, bit for bit,
    what its run saved.

    Args:
        language_model: The base model, unedited. Its weights change in place.
        deltas: What to add or subtract.
        signs: 1 or -1 for each; all are added if None.

    Raises:
        ConfigError: If a delta was made on other weights, or changes what cannot be edited. The
            model is then left as it is.
        NumericalError: If a change is not finite.
    """
    for delta in deltas:
        check_base(language_model, delta)
    total = combine(deltas, signs or [1] * len(deltas))
    modules = find_modules(language_model.model, list(total), name=language_model.name)
    EditedWeights(modules).apply(Additive(total))


def check_base(language_model: LanguageModel, delta: Delta) -> None:
    """Check that a model has the very weights that a delta was made on.

    Raises:
        ConfigError: If it has not.
    """
    of_model = fingerprint(language_model.model)
    if of_model != delta.fingerprint:
        dtype = str(language_model.dtype).removeprefix("torch.")
        raise ConfigError(
            f"{delta.source} is a change of {delta.base} in {delta.dtype}, fingerprint "
            f"{short(delta.fingerprint)}, but {language_model.name} in {dtype} has "
            f"{short(of_model)}. A change fits only the weights that it was made on, so nothing "
            "overrides this: give that model, or make the edits again on this one."
        )


def short(whole: str) -> str:
    """The part of a fingerprint that people compare."""
    return whole[: len("sha256:") + 12]


def _sha256(changes: Mapping[str, Tensor]) -> str:
    """Hash of names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, change in sorted(changes.items()):
        digest.update(f"{name}\0{tuple(change.shape)}\0".encode())
        digest.update(change.cpu().contiguous().numpy().data)
    return digest.hexdigest()

"""Where computed and imported second moments are kept: one safetensors file per module.

A file is named by what it is of: the weights of the model, the module, and the corpus. All three
are in its header too, so that the list is made without reading a matrix.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import staged
from ultraedit.core.types import SecondMoment
from ultraedit.models.cache import cache_dir

FORMAT = "ultraedit second moment 1"
IMPORTED = "imported"
"""What stands for the corpus of moments that were computed elsewhere."""

_log = logging.getLogger("ultraedit")


@dataclass(frozen=True, kw_only=True)
class CachedMoment:
    """A second moment that is kept, without its matrix."""

    file: Path
    model: str
    """What the user called the model."""
    fingerprint: str
    """Of its weights; see `models.fingerprint`."""
    module: str
    corpus: str
    """Hash of the sampled passages, or ``imported``."""
    source: str
    """What a record calls the corpus."""
    tokens: int
    d_in: int
    doublings: tuple[tuple[int, float], ...] = ()
    """Per doubling of the sample its size, and the relative change that it made (Frobenius)."""
    made: str = ""
    """When, as ISO 8601."""

    @property
    def id(self) -> str:
        """A short name, the same on every machine."""
        key = "\n".join((self.fingerprint, self.module, self.corpus))
        return hashlib.sha256(key.encode()).hexdigest()[:8]

    def load(self) -> SecondMoment:
        """Read the matrix.

        Raises:
            StorageError: If the file is damaged.
        """
        try:
            with safe_open(self.file, framework="pt") as opened:
                moment: Tensor = opened.get_tensor("moment")
        except (OSError, SafetensorError) as error:
            raise _damaged(self.file, error) from error
        return SecondMoment(moment, self.tokens, self.source)


def folder() -> Path:
    """Folder of all second moments: ``$ULTRAEDIT_CACHE/second-moments``."""
    return cache_dir() / "second-moments"


def place(fingerprint: str, module: str, corpus: str) -> Path:
    """File of the second moment of a module over a corpus."""
    return folder() / fingerprint.partition(":")[2][:16] / f"{module}.{corpus[:12]}.safetensors"


def put(moment: Tensor, **facts: Any) -> CachedMoment:
    """Keep a second moment, whole or not at all.

    Args:
        moment: The matrix, float32, shape (d_in, d_in).
        facts: The fields of its `CachedMoment`, but for those found here.

    Raises:
        StorageError: If it cannot be written.
    """
    file = place(facts["fingerprint"], facts["module"], facts["corpus"])
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    entry = CachedMoment(file=file, d_in=moment.shape[0], made=made, **facts)
    facts = {name: value for name, value in vars(entry).items() if name != "file"}
    with staged(file) as stage:
        save_file(
            {"moment": moment.contiguous().cpu()},
            stage,
            metadata={"format": FORMAT, "facts": json.dumps(facts)},
        )
    return entry


def get(fingerprint: str, module: str, corpus: str) -> CachedMoment | None:
    """Look a second moment up by what it is of.

    Raises:
        StorageError: If its file is damaged.
    """
    file = place(fingerprint, module, corpus)
    if not file.is_file():
        return None
    entry = _read(file)
    same = (entry.fingerprint, entry.module, entry.corpus) == (fingerprint, module, corpus)
    return entry if same else None


def entries() -> Iterator[CachedMoment]:
    """All that are kept, by model and module. Damaged files are named in the log."""
    for file in sorted(folder().glob("*/[!.]*.safetensors")):
        try:
            yield _read(file)
        except StorageError as error:
            _log.warning("%s", error)


def find_entry(name: str) -> CachedMoment:
    """Find one by its id, or by the beginning of it.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    matching = [entry for entry in entries() if name and entry.id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    what = "more than one second moment begins" if matching else "no second moment begins"
    raise ConfigError(f"{name!r}: {what} so. Take an id from `ultraedit stats list`.")


def _read(file: Path) -> CachedMoment:
    try:
        with safe_open(file, framework="pt") as opened:
            header: Mapping[str, str] = opened.metadata() or {}
        if header.get("format") != FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}")
        facts = json.loads(header["facts"])
        doublings = tuple((int(size), float(change)) for size, change in facts.pop("doublings"))
        return CachedMoment(file=file, doublings=doublings, **facts)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> StorageError:
    return StorageError(
        f"The second moment {file} cannot be read ({error}). Delete the file; it is computed or "
        "imported anew."
    )

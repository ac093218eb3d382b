"""Whether facts are still those that a run was begun with, and where they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ultraedit.core.files import sha256
from ultraedit.data._spec import DataSpec


def located(spec: DataSpec) -> DataSpec:
    """The same facts as a process finds them that is started in another folder."""
    path, hash, split = _parts(spec)
    return spec._replace(path=Path(f"{path.resolve()}{hash}{split}")) if path.exists() else spec


def is_there(spec: DataSpec) -> bool:
    """Whether the facts are on the disk; what is on the hub is taken to be there."""
    path, _, _ = _parts(spec)
    return path.exists() or (spec.format == "hf" and not path.is_absolute())


def digest(spec: DataSpec) -> str:
    """Hash of the facts, in hexadecimal.

    Of a file it is that of its bytes, of a folder that of its files and their names. Of a data set
    on the hub it is that of its name alone: its files are read as they are needed.

    Raises:
        OSError: If a file cannot be read.
    """
    path, _, _ = _parts(spec)
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
    lines = [f"{file.relative_to(path).as_posix()} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(lines or [str(spec)]).encode()).hexdigest()


def _parts(spec: DataSpec) -> tuple[Path, str, str]:
    """The path, and the split that a data set may name behind a ``#``."""
    if spec.format != "hf":
        return spec.path, "", ""
    path, hash, split = str(spec.path).partition("#")
    return Path(path), hash, split

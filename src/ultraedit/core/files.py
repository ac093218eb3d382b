"""Files and folders that are whole at any moment: written aside, synced, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ultraedit.core.errors import ConfigError, StorageError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Errors of a full disk or quota."""

PARTIAL, REPLACED = ".partial", ".old"
"""Endings of what is being written, and of what is being replaced."""


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, as UTF-8: a reader sees the old one or the new one, never a part.

    Raises:
        StorageError: If it cannot be written. What was there before stays.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole: a reader sees the old one or the new one, never a part.

    Raises:
        StorageError: If it cannot be written. What was there before stays.
    """
    with staged(path, parents=False) as stage:
        stage.write_bytes(content)


def read_lines(path: str) -> list[str]:
    """Lines of a UTF-8 file, ``~`` being the home of the user.

    Raises:
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is not UTF-8.
    """
    return Path(path).expanduser().read_text("utf-8").splitlines()


JOURNAL = "journal.sqlite"
"""Name of the journal in its run folder, which is known by it."""


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / JOURNAL).is_file()


def begins_with(path: Path, mark: bytes) -> bool:
    """Whether a path is that of a file whose first bytes are these."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about writing into one sentence that names the file.

    Raises:
        StorageError: If the body raises an error of the system, or of safetensors.
    """
    try:
        yield
    except StorageError:
        raise
    except (OSError, SafetensorError) as error:
        cause = getattr(error, "strerror", None) or error
        full = getattr(error, "errno", None) in _FULL
        advice = "free some space, or choose another place," if full else "choose another place"
        raise StorageError(
            f"Cannot write {path}: {cause}. What was written before is whole; {advice} and try "
            "again."
        ) from error


@contextmanager
def staged(target: Path, *, replace: bool = True, parents: bool = True) -> Iterator[Path]:
    """Give a new name beside `target` to write to; rename it to `target` when all went well.

    The caller makes a file or a folder of that name. What was at `target` before stays whole
    until the new one is complete and on the disk, and for good if anything fails.

    Args:
        target: The final path.
        replace: Whether to take the place of a folder that is there. If not, the older one wins:
            for content that is the same whoever writes it, and that others may be reading.
        parents: Whether to make missing parent folders.

    Yields:
        The temporary path, in the same folder, so that the rename cannot cross disks.

    Raises:
        StorageError: If writing failed, naming `target` and the cause.
    """
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    with explained(target):
        try:
            if parents:
                target.parent.mkdir(parents=True, exist_ok=True)
            yield stage
            _sync(stage)
            _put_in_place(stage, target, replace)
        finally:
            _remove(stage)


def sweep(folder: Path) -> None:
    """Take away what a killed process left half-written in a folder, and put back what it moved.

    To be called only by who alone writes there.
    """
    for left in folder.glob(f".*{PARTIAL}"):
        _remove(left)
    for old in folder.glob(f".*{REPLACED}"):
        target = old.with_name(old.name.removeprefix(".").rsplit(".", 2)[0])
        if target.exists():
            _remove(old)
        else:
            os.rename(old, target)


def _put_in_place(stage: Path, target: Path, replace: bool) -> None:
    """Rename `stage` to `target`, moving an older folder out of the way first.

    A folder cannot be renamed onto one that holds files, so for an instant there is none; the
    older one is put back if the second rename fails.
    """
    old = stage.with_suffix(REPLACED)
    try:
        if replace and stage.is_dir() and target.is_dir():
            os.rename(target, old)
        os.replace(stage, target)
    except BaseException as error:  # Ctrl-C too, between any two of these statements
        if old.is_dir() and not target.exists():
            os.rename(old, target)
        if replace or not isinstance(error, OSError) or not target.is_dir():
            raise
    finally:
        if target.exists():
            _remove(old)


def _sync(path: Path) -> None:
    """Wait until a file, or all files of a folder, are on the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            # Only Windows wants to write what it syncs; a file may be read-only, or another's too.
            handle = os.open(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def refuse_existing(path: Path, *, empty_folder: bool = True) -> None:
    """Check that something new may have a name, touching nothing.

    Args:
        path: The name.
        empty_folder: Whether it may be that of an empty folder.

    Raises:
        ConfigError: If there is something already.
    """
    free = empty_folder and path.is_dir() and not any(path.iterdir())
    if not free and (path.exists() or path.is_symlink()):
        raise ConfigError(f"{path} is already there. Choose another --out, or delete it first.")

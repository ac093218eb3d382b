"""Folders that appear whole or not at all, and where this package keeps its own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from ultraedit.errors import StorageError


def cache_dir() -> Path:
    """Folder of converted models: ``$ULTRAEDIT_CACHE``, else the user's cache folder."""
    folder = os.environ.get("ULTRAEDIT_CACHE") or platformdirs.user_cache_dir("ultraedit")
    return Path(folder).expanduser()


@contextmanager
def staged(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a new name beside `target` to write to; rename it to `target` when all went well.

    The caller makes a file or a folder of that name. What was at `target` before stays whole
    until the new one is complete and on the disk, and for good if anything fails.

    Args:
        target: The final path. Missing parent folders are made.
        replace: Whether to take the place of a folder that is there. If not, the older one wins:
            for content that is the same whoever writes it, and that others may be reading.

    Yields:
        The temporary path, in the same folder, so that the rename cannot cross disks.

    Raises:
        StorageError: If writing failed, naming `target` and the cause.
    """
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield stage
        _sync(stage)
        _put_in_place(stage, target, replace)
    except (OSError, SafetensorError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"Could not write {target}: {cause}. Nothing was changed; free some space or choose "
            "another place, and try again."
        ) from error
    finally:
        _remove(stage)


def _put_in_place(stage: Path, target: Path, replace: bool) -> None:
    """Rename `stage` to `target`, moving an older folder out of the way first.

    A folder cannot be renamed onto one that holds files, so for an instant there is none; the
    older one is put back if the second rename fails.
    """
    old = stage.with_suffix(".old")
    if replace and target.is_dir():
        os.rename(target, old)
    try:
        os.replace(stage, target)
    except OSError:
        if old.is_dir():
            os.rename(old, target)
            raise
        if replace or not target.is_dir():
            raise
    _remove(old)


def _sync(path: Path) -> None:
    """Wait until a file, or all files of a folder, are on the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

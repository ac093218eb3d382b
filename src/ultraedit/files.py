"""Single files that are whole at any moment: written aside, synced, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ultraedit.errors import StorageError


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
    aside = path.with_name(f".{path.name}.part")
    with explained(path):
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about writing into one sentence that names the file.

    Raises:
        StorageError: If the body raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror or error}. What was written before is whole."
        ) from error

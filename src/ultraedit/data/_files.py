"""Files as bytes: plain or gzip, with the errors that a user can cause put into words."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from ultraedit.core.errors import DataError

MAX_ROW = 16 * 2**20
"""Bytes that one row may take: a missing quote must not pull a whole file into memory."""

BOM = b"\xef\xbb\xbf"

_GZIP_MAGIC = b"\x1f\x8b"


class FileLine(NamedTuple):
    """One line of a file, its end included."""

    number: int
    """From 1."""

    offset: int
    """Where it starts, in bytes from the start of the (unpacked) file."""

    data: bytes


def require_file(path: Path) -> None:
    """Refuse a path that is no file, before anything is read or written.

    Raises:
        DataError: If nothing or a folder is at `path`.
    """
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder, expected one file of edits. Name the file in it.")
    if not os.path.exists(path):
        raise DataError(f"No such file: {path}. Check the spelling, or give the full path.")


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a plain or gzip file for reading bytes.

    Gzip is recognized by its first two bytes, so a wrongly named file is read too.

    Raises:
        DataError: If the file cannot be opened, or cannot be read to its end.
    """
    try:
        with path.open("rb") as raw:
            if raw.peek(2)[:2] == _GZIP_MAGIC or path.suffix.lower() == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield io.BufferedReader(cast(io.RawIOBase, unpacked))
            else:
                yield raw
    except EOFError as error:
        raise DataError(
            f"{path} is cut short: its gzip stream has no end. Download or pack it again."
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is not a whole gzip file ({error}). "
            f"Download or pack it again, or drop .gz from the name if it is not packed."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} cannot be read: {reason}. Check its permissions.") from error


def lines(handle: io.BufferedReader, path: Path) -> Iterator[FileLine]:
    """Read line by line, without a byte order mark, in memory bounded by `MAX_ROW`.

    Raises:
        DataError: If a line is longer than `MAX_ROW`.
    """
    number, offset = 1, 0
    while data := handle.readline(MAX_ROW + 1):
        if len(data) > MAX_ROW:
            raise DataError(
                f"{path}, line {number}: longer than {MAX_ROW >> 20} MiB. "
                f"Write one row a line, or all rows as one JSON array."
            )
        mark = len(BOM) if number == 1 and data.startswith(BOM) else 0
        yield FileLine(number, offset + mark, data[mark:])
        number, offset = number + 1, offset + len(data)


def not_utf8(byte: int, offset: int) -> str:
    """Say where a text stops being UTF-8, the same for every kind of file.

    Args:
        byte: The offending byte.
        offset: Where it stands, in bytes from the start of the (unpacked) file.
    """
    return f"not UTF-8: byte 0x{byte:02x} at offset {offset}. Save the file as UTF-8"


def find_root(given: Path | None) -> Path | None:
    """The data folder: the one given, ``$ULTRAEDIT_DATA``, or ``../shared/data`` if it is there.

    Raises:
        DataError: If the one given is no folder.
    """
    if given is None:
        named = os.environ.get("ULTRAEDIT_DATA")
        near = Path("..", "shared", "data")
        given = Path(named) if named else near if near.is_dir() else None
    if given is not None and not given.is_dir():
        raise DataError(f"There is no data folder {given}. Name one with --data-root.")
    return given

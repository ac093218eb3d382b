"""Text files as people's programs write them: UTF-8, UTF-16, or the Windows code page."""

from __future__ import annotations

import codecs
import logging
from pathlib import Path

from ultraedit.core.errors import DataError
from ultraedit.data._files import not_utf8, opened
from ultraedit.data._notes import note

_CHUNK = 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # starts as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

LEGACY = "cp1252"
"""What programs on western Windows write where they do not write Unicode."""


def find_encoding(path: Path) -> str:
    """Find the encoding of a text file, as a codec of Python, by reading it once.

    Args:
        path: A plain or gzip file.

    Raises:
        DataError: If it starts as UTF-8 and stops being it, or is no text.
    """
    with opened(path) as handle:
        start = handle.peek(4)[:4]
        for mark, codec in _MARKS:
            if start.startswith(mark):
                return codec
        first = handle.read(_CHUNK)
        if (unmarked := _unmarked_utf16(first)) is not None:
            return unmarked
        decoder = codecs.getincrementaldecoder("utf-8")()
        read, line, is_plain, data = 0, 1, True, first
        while True:
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                # ASCII up to here: an old code page. Letters beyond it that were UTF-8: a fault.
                if is_plain and before.isascii():
                    return _legacy(path)
                at = line + before.count(b"\n")
                reason = not_utf8(error.object[error.start], read - pending + error.start)
                raise DataError(f"{path}, line {at}: {reason}.") from error
            if not data:
                return "utf-8"
            is_plain = is_plain and data.isascii()
            read, line = read + len(data), line + data.count(b"\n")
            data = handle.read(_CHUNK)


def _unmarked_utf16(start: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of western text is zero."""
    even, odd = start[0:400:2], start[1:400:2]
    if odd and odd.count(0) > 0.8 * len(odd):
        return "utf-16-le"
    return "utf-16-be" if even and even.count(0) > 0.8 * len(even) else None


def _legacy(path: Path) -> str:
    decoder = codecs.getincrementaldecoder(LEGACY)()
    with opened(path) as handle:
        while data := handle.read(_CHUNK):
            try:
                decoder.decode(data)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path} is neither UTF-8 nor Windows-1252 (byte 0x"
                    f"{error.object[error.start]:02x}). Save it as UTF-8."
                ) from error
    note(
        f"{path} is not UTF-8 and is read as Windows-1252. "
        "If letters look wrong, save it as UTF-8.",
        logging.WARNING,
    )
    return LEGACY

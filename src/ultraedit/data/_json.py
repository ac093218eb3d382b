"""Rows of a JSON array or of JSON lines, read as they are needed.

Published sets are one array, often of millions of rows on a single line, so the array is taken
apart from a buffer that holds little more than the row at hand.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultraedit.core.errors import DataError
from ultraedit.data._files import BOM, MAX_ROW, lines, not_utf8, opened
from ultraedit.data._rows import Fault, Row, described

_CHUNK = 2**16
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()

_WRAPPER = re.compile(
    rb'\{\s*(?:"[^"\n]*"\s*:\s*(?:"[^"\n]*"|[-+.\w]+)\s*,\s*)*'
    rb'"(?:data|rows|examples|facts|edits|items|records|train|test|dev|validation)"\s*:\s*\['
)
"""The start of an object that holds the rows in a list, such as ``{"data": [``."""


def json_rows(path: Path) -> Iterator[Row]:
    """Read the objects of a JSON array, or of a file with one object a line.

    The start of the file decides which of the two it is; an array may stand in an
    object, such as ``{"data": [...]}``. Blank lines are skipped.

    Args:
        path: A plain or gzip file in UTF-8.

    Yields:
        The rows; one that is no object, or a line that is no JSON, comes as a fault.

    Raises:
        DataError: If the file cannot be read on: it is broken gzip, or an array that is not
            JSON or not UTF-8.
    """
    with opened(path) as handle:
        start = handle.peek(_CHUNK).removeprefix(BOM).lstrip()
        if start[:1] == b"[":
            yield from _array_rows(handle, path)
        elif (wrapper := _WRAPPER.match(start)) is not None:
            yield from _array_rows(handle, path, len(wrapper.group().decode("utf-8", "replace")))
        else:
            yield from _line_rows(handle, path)


def _line_rows(handle: io.BufferedReader, path: Path) -> Iterator[Row]:
    number = 0
    for line in lines(handle, path):
        if line.data.isspace() or not line.data:
            continue
        number += 1
        yield Row(number, line.number, _line_values(line.data, line.offset))


def _line_values(data: bytes, offset: int) -> dict[str, Any] | Fault:
    try:
        return _values(_DECODER.decode(data.decode()))
    except UnicodeDecodeError as error:
        return Fault("malformed", not_utf8(data[error.start], offset + error.start))
    except (ValueError, RecursionError) as error:
        reason = _reason(error)
        return Fault("malformed", f"malformed JSON: {reason}. Write each row as one object a line")


def _array_rows(handle: io.BufferedReader, path: Path, start: int = 1) -> Iterator[Row]:
    """Read the rows of an array.

    Args:
        handle: The file, at its start.
        path: Its name, for messages.
        start: Characters before the first row: the bracket, or all that opens an object around it.
    """
    text = _Text(handle, path)
    text.peek()
    text.skip(start)
    number = 0
    closed = text.peek() == "]"
    while not closed:
        number += 1
        text.peek()
        line = text.line
        yield Row(number, line, _values(text.value(number)))
        closed = text.peek() == "]"
        if not closed:
            text.comma(number)
    text.skip(1)
    if start > 1:
        text.close_object(number)
    if text.peek():
        raise DataError(
            f"{path}, line {text.line}: more text after the end of the array of {number} rows. "
            f"Write all rows into one array, or one object a line."
        )


def _values(value: Any) -> dict[str, Any] | Fault:
    if isinstance(value, dict):
        return value
    return Fault("type", f"a row must be an object of keys and values, got {described(value)}")


def _reason(error: Exception, start: int = 0) -> str:
    """Say in words what the JSON decoder met, and near what."""
    if isinstance(error, json.JSONDecodeError):
        if not error.doc[error.pos :].strip():
            return f"{error.msg} at the end"
        near = error.doc[max(start, error.pos - 20) : error.pos + 20].strip()
        return f"{error.msg} near {near!r}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


class _Text:
    """The text of a file through a window, with the number of the line at its start."""

    def __init__(self, handle: io.BufferedReader, path: Path) -> None:
        self.line = 1
        self._handle = handle
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes = 0
        self._window = ""
        self._start = 0
        if handle.peek(len(BOM))[: len(BOM)] == BOM:
            self._bytes = len(handle.read(len(BOM)))

    def peek(self) -> str:
        """Skip white space and show the next character, or "" at the end of the file."""
        while True:
            space = _SPACE.match(self._window, self._start)
            self.skip((space.end() if space else self._start) - self._start)
            if self._start < len(self._window) or not self._grow():
                return self._window[self._start : self._start + 1]

    def skip(self, count: int) -> None:
        """Move the start of the window on."""
        self.line += self._window.count("\n", self._start, self._start + count)
        self._start += count

    def value(self, number: int) -> Any:
        """Take the next JSON value, the one of row `number`.

        Raises:
            DataError: If there is none, or the row is longer than `MAX_ROW` characters.
        """
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._start)
                # A number that touches the edge of the window may go on behind it.
                if end < len(self._window) or not self._grow():
                    self.skip(end - self._start)
                    return value
            except (ValueError, RecursionError) as error:
                if len(self._window) - self._start > MAX_ROW or not self._grow():
                    raise self._malformed(error, number) from error

    def comma(self, number: int) -> None:
        """Take the comma behind row `number`.

        Raises:
            DataError: If something else, or nothing, stands there.
        """
        character = self.peek()
        if character == ",":
            self.skip(1)
            return
        got = f"got {character!r}" if character else "but the file ends; it may be cut short"
        raise DataError(
            f"{self._path}, line {self.line}: expected ',' or ']' after row {number}, {got}."
        )

    def close_object(self, number: int) -> None:
        """Take the rest of the object that held an array of so many rows."""
        while self.peek() == ",":
            self.skip(1)
            self.peek()
            key = self.value(number)
            if self.peek() == ":":
                self.skip(1)
                self.peek()
                value = self.value(number)
                if isinstance(value, list) and value and isinstance(value[0], dict):
                    raise DataError(
                        f"{self._path}, line {self.line}: a second array of rows, {key!r}. Write "
                        "each into a file of its own."
                    )
        if self.peek() == "}":
            self.skip(1)

    def _malformed(self, error: Exception, number: int) -> DataError:
        at = getattr(error, "pos", self._start)
        line = self.line + self._window.count("\n", self._start, at)
        ends = at >= len(self._window) or "Unterminated" in str(error)
        hint = "The file may be cut short." if ends else "Correct the row, or write it anew."
        return DataError(
            f"{self._path}, row {number} (line {line}): "
            f"malformed JSON: {_reason(error, self._start)}. {hint}"
        )

    def _grow(self) -> bool:
        """Read on, dropping what was skipped. False at the end of the file."""
        # Doubling keeps the work linear when a long row is tried again and again.
        data = self._handle.read(max(_CHUNK, len(self._window) - self._start))
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            before = self._window[self._start :]
            line = self.line + before.count("\n") + error.object[: error.start].count(b"\n")
            offset = self._bytes - pending + error.start
            reason = not_utf8(error.object[error.start], offset)
            raise DataError(f"{self._path}, line {line}: {reason}.") from error
        if not data:
            return False
        self._bytes += len(data)
        self._window, self._start = self._window[self._start :] + text, 0
        return True

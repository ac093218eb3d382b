"""``csv`` and ``tsv``: tables in text files, as every spreadsheet writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ultraedit.core.errors import DataError
from ultraedit.data._columns import recognized
from ultraedit.data._encoding import find_encoding
from ultraedit.data._files import MAX_ROW, opened
from ultraedit.data._rows import Fault
from ultraedit.data._table import Cells, table

_DELIMITERS = ",;\t|"
"""Spreadsheets separate by ``;`` where the decimal sign is a comma."""


def _cells(path: Path, delimiters: str) -> Iterator[Cells]:
    encoding = find_encoding(path)
    with opened(path) as handle:
        # newline="" leaves the ends of lines inside quotes to the csv module.
        text = io.TextIOWrapper(handle, encoding=encoding, newline="")
        try:
            yield from _parsed(text, path, delimiters)
        except UnicodeError as error:
            raise DataError(f"{path} is not {encoding} to its end: {error}.") from error


def _parsed(text: io.TextIOWrapper, path: Path, delimiters: str) -> Iterator[Cells]:
    skipped, first = 0, text.readline(MAX_ROW)
    while first and not first.strip():
        skipped, first = skipped + 1, text.readline(MAX_ROW)
    named = first.strip()
    if named.lower().startswith("sep=") and len(named) == 5:  # Excel's line for itself
        delimiters, skipped, first = named[-1], skipped + 1, text.readline(MAX_ROW)
    if not first:
        return
    delimiter = _delimiter(first, delimiters)
    lines = _lines(first, text, path, skipped)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if line == 1:
                raise DataError(
                    f"{path}, line {skipped + 1}: {error}. Check its quotes."
                ) from error
            reason = f"malformed row: {error}. Double every quote inside quotes"
            yield Cells(skipped + line, Fault("malformed", reason))
            line = reader.line_num + 1
            continue
        if cells is None:
            return
        if cells:  # [] is a blank line
            yield Cells(skipped + line, cells)
        line = reader.line_num + 1


def _lines(first: str, text: io.TextIOWrapper, path: Path, skipped: int) -> Iterator[str]:
    """The lines of a table, the header first, each within `MAX_ROW`."""
    line, number = first, skipped + 1
    while line:
        if len(line) >= MAX_ROW:
            raise DataError(
                f"{path}, line {number}: longer than {MAX_ROW >> 20} MiB. Write one row a line."
            )
        yield line
        line, number = text.readline(MAX_ROW), number + 1


def _delimiter(header: str, delimiters: str) -> str:
    """The separator under which a header has the most columns that are known, then the most."""

    def score(delimiter: str) -> tuple[int, int]:
        try:
            names = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            return (0, 0)
        return (recognized(names), len(names))

    return max(delimiters, key=score)


LAYOUT = table(partial(_cells, delimiters=_DELIMITERS))
"""Values separated by commas, semicolons, tabs or bars, whichever the header shows."""

TABS = table(partial(_cells, delimiters="\t"))
"""Values separated by tabs."""

"""``xlsx``: the first sheet of a workbook."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data._notes import note
from ultraedit.data._rows import Fault
from ultraedit.data._table import Cells, table

_ERRORS = {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!"}


def _cells(path: Path) -> Iterator[Cells]:
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ModuleNotFoundError:
        raise ConfigError(
            f"{path} is a workbook, which takes openpyxl to read: "
            "pip install 'ultraedit[tables]', or save it as CSV UTF-8."
        ) from None
    try:
        # Read-only reads row by row; data_only takes the value that a formula last had.
        with _quiet():
            book = load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is no .xlsx workbook that can be read ({error}). One with a password must be "
            "saved without it."
        ) from error
    try:
        sheet = book.worksheets[0]
        others = [other.title for other in book.worksheets[1:]]
        if others:
            named = " and ".join(map(repr, others))
            note(f"{path}: the sheet {sheet.title!r} is read, {named} not.")
        sheet.reset_dimensions()  # some programs write a size that is too small
        seen = False
        for line, values in enumerate(_rows(sheet), start=1):
            if not seen and not any(value is not None for value in values):
                continue
            at = next((i for i, value in enumerate(values) if value in _ERRORS), None)
            if seen and at is not None:
                reason = f"column {at + 1} holds the error {values[at]}. Correct its formula"
                yield Cells(line, Fault("type", reason))
            else:
                yield Cells(line, values)
            seen = True
    finally:
        book.close()


def _rows(sheet: Any) -> Iterator[tuple[Any, ...]]:
    rows = sheet.iter_rows(values_only=True)
    while True:
        with _quiet():
            row = next(rows, None)
        if row is None:
            return
        yield row


@contextmanager
def _quiet() -> Iterator[None]:
    """Without openpyxl's warnings of styles and checks of a sheet, which are not read anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


LAYOUT = table(_cells)
"""One fact a row under a row of names. Numbers and dates are read as their values, not as shown."""

"""Triples from tab-separated values, comma-separated values and JSON lines, row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ultraedit.core.errors import DataError, did_you_mean
from ultraedit.data._files import FileLine, lines, not_utf8, opened
from ultraedit.tools.bench_builder.triples import Triple, Unreadable, tidy

Rows = Iterator[Triple | Unreadable]

COLUMNS: dict[str, tuple[str, ...]] = {
    "relation_id": ("relation_id", "pid", "property_id"),
    "relation": ("relation", "relation_label", "predicate", "property"),
    "subject": ("subject", "subject_label", "head"),
    "objects": ("object", "object_label", "objects", "answers_json", "answers", "answer", "tail"),
    "subject_id": ("subject_id",),
    "object_id": ("object_id",),
    "subject_aliases": ("subject_aliases",),
    "object_aliases": ("object_aliases", "aliases"),
    "questions": ("questions", "patterns"),
}
"""What a column or key may be called, per part of a triple."""

_NAMES = {name: part for part, names in COLUMNS.items() for name in names}
_LISTS = ("objects", "subject_aliases", "object_aliases", "questions")
_WANTED = "subject, relation (or pid) and object (or answers)"


def tab_separated(path: Path) -> Rows:
    """Read tab-separated values, a row a line, with or without quotes around a cell.

    Args:
        path: A plain or gzip file with a header, or with three columns and none.

    Yields:
        The triples, and what was wrong where there is none.

    Raises:
        DataError: If the file cannot be read, or its columns are not those of triples.
    """
    with opened(path) as handle:
        yield from _table(path, (_tab_cells(line, path) for line in lines(handle, path)))


def comma_separated(path: Path) -> Rows:
    """Read comma-separated values. Arguments and errors are those of `tab_separated`."""
    with opened(path) as handle:
        reader = csv.reader((_text(line, path) for line in lines(handle, path)), strict=True)
        yield from _table(path, _comma_cells(reader))


def json_lines(path: Path) -> Rows:
    """Read one JSON object a line, with the names of `COLUMNS` as keys.

    Args:
        path: A plain or gzip file.

    Yields:
        The triples, and what was wrong where there is none.

    Raises:
        DataError: If the file cannot be read to its end.
    """
    with opened(path) as handle:
        for line in lines(handle, path):
            if line.data.strip():
                yield _object_row(line)


def _object_row(line: FileLine) -> Triple | Unreadable:
    try:
        row = json.loads(line.data)
    except (ValueError, RecursionError):
        return Unreadable(line.number, "not a JSON object")
    if not isinstance(row, dict):
        return Unreadable(line.number, "not a JSON object")
    values = {_NAMES[key]: value for key, value in row.items() if key in _NAMES}
    return _triple(line.number, values)


def _table(path: Path, rows: Iterator[tuple[int, list[str] | str]]) -> Rows:
    """Rows of cells as triples, their header found in the first of them."""
    parts: list[str | None] | None = None
    for number, cells in rows:
        if isinstance(cells, str):
            yield Unreadable(number, cells)
            continue
        if parts is None:
            parts, is_header = _parts(cells, path)
            if is_header:
                continue
        if len(cells) != len(parts):
            yield Unreadable(number, f"{len(cells)} columns, expected {len(parts)}")
            continue
        values = {part: cell for part, cell in zip(parts, cells, strict=True) if part}
        yield _triple(number, values)


def _parts(cells: Sequence[str], path: Path) -> tuple[list[str | None], bool]:
    """Which part of a triple each column holds, and whether the first row said so."""
    names = [cell.strip().lower() for cell in cells]
    parts = [_NAMES.get(name) for name in names]
    if {"subject", "objects"} <= set(parts) and {"relation", "relation_id"} & set(parts):
        return parts, True
    if len(cells) == 3 and not any(parts):
        return ["subject", "relation", "objects"], False
    unknown = [name for name, part in zip(names, parts, strict=True) if part is None and name]
    guess = did_you_mean(unknown[0], _NAMES) if any(parts) and unknown else ""
    raise DataError(
        f"{path}: the columns of the first line are {', '.join(map(repr, cells))[:200]}. Expected "
        f"a header with {_WANTED}, or three columns without a header. {guess}".strip()
    )


def _triple(number: int, values: dict[str, Any]) -> Triple | Unreadable:
    """A triple from the values of a row, by part."""
    try:
        parts: dict[str, Any] = {
            part: _texts(value, part) if part in _LISTS else _one(value, part)
            for part, value in values.items()
            if value is not None
        }
    except TypeError as error:
        return Unreadable(number, str(error))
    # The id beats the name: it is the same in every language.
    relation = parts.pop("relation_id", "") or parts.get("relation", "")
    objects = tuple(dict.fromkeys(parts.pop("objects", ())))
    subject = parts.pop("subject", "")
    for name, value in (("subject", subject), ("relation", relation), ("object", objects)):
        if not value:
            return Unreadable(number, f"no {name}")
    parts.pop("relation", None)
    return Triple(number, subject, relation, objects, **parts)


def _one(value: Any, part: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{part} is {value!r}, expected a text"[:200])
    return tidy(value)


def _texts(value: Any, part: str) -> tuple[str, ...]:
    """A list of names, also where a cell of a table holds it as JSON."""
    if isinstance(value, str):
        if value.startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                value = [value]  # a name such as "[Untitled]"
        else:
            value = [value]
    if not isinstance(value, list):
        raise TypeError(f"{part} is {value!r}, expected a text or a list of texts"[:200])
    return tuple(filter(None, (_one(each, part) for each in value)))


def _tab_cells(line: FileLine, path: Path) -> tuple[int, list[str] | str]:
    try:
        text = line.data.decode()
    except UnicodeDecodeError as error:
        return line.number, not_utf8(line.data[error.start], line.offset + error.start)
    return line.number, [_unquoted(cell) for cell in text.rstrip("\r\n").split("\t")]


def _unquoted(cell: str) -> str:
    """A cell without the quotes that CSV puts around it; others are part of a name."""
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        inner = cell[1:-1].replace('""', "\0")
        if '"' not in inner:
            return inner.replace("\0", '"')
    return cell


def _comma_cells(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, f"not comma-separated values ({error})"
            continue
        if cells is None:
            return
        if cells:
            yield reader.line_num, cells


def _text(line: FileLine, path: Path) -> str:
    try:
        return line.data.decode()
    except UnicodeDecodeError as error:
        reason = not_utf8(line.data[error.start], line.offset + error.start)
        raise DataError(f"{path}, line {line.number}: {reason}.") from error

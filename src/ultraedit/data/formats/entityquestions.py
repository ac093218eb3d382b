"""``entityquestions``: one question for each of 220,703 Wikidata facts, in tab-separated values."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit
from ultraedit.data import _kinds as kinds
from ultraedit.data._files import FileLine, lines, not_utf8, opened
from ultraedit.data._layout import Field, Layout, Values
from ultraedit.data._rows import Fault, Row, shown

_HEADER = ["split", "pid", "subject", "question", "answers_json"]


def _rows(path: Path) -> Iterator[Row]:
    with opened(path) as handle:
        decoded = (_decoded(line, path) for line in lines(handle, path))
        reader = csv.reader(decoded, delimiter="\t", strict=True)
        _check_header(reader, path)
        number, line = 0, reader.line_num + 1
        while (values := _next_values(reader)) is not None:
            number += 1
            yield Row(number, line, values)
            line = reader.line_num + 1


def _check_header(reader: Iterator[list[str]], path: Path) -> None:
    try:
        header = next(reader, _HEADER)
    except csv.Error:
        header = []
    if header != _HEADER:
        raise DataError(
            f"{path}, line 1: got the header {shown(header)}, expected the columns "
            f"{', '.join(_HEADER)}, separated by tabs."
        )


def _next_values(reader: Iterator[list[str]]) -> dict[str, Any] | Fault | None:
    """Take the next row apart; None at the end of the file."""
    try:
        cells = next((cells for cells in reader if cells), None)  # [] is a blank line
    except csv.Error as error:
        return Fault("malformed", f"malformed row: {error}. Double every quote inside quotes")
    if cells is None:
        return None
    if len(cells) != len(_HEADER):
        return Fault("malformed", f"{len(cells)} columns, expected {len(_HEADER)}")
    return dict(zip(_HEADER, cells, strict=True))


def _decoded(line: FileLine, path: Path) -> str:
    try:
        return line.data.decode()
    except UnicodeDecodeError as error:
        reason = not_utf8(line.data[error.start], line.offset + error.start)
        raise DataError(f"{path}, line {line.number}: {reason}.") from error


def _answers(value: Any) -> Fault | None:
    """A JSON list of at least one text."""
    try:
        return kinds.some_texts(json.loads(value))
    except (ValueError, RecursionError):
        return Fault("type", f" must be a JSON list of texts, got {value!r}")


def _edit(values: Values, id: str, seed: int) -> Edit:
    target, *others = dict.fromkeys(json.loads(values["answers_json"]))
    return Edit(
        prompt=values["question"],
        target=target,
        subject=values["subject"],
        aliases=tuple(others),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("question", kinds.text),
        Field("answers_json", _answers),
        Field("subject", kinds.text),
    ),
    edit=_edit,
    rows=_rows,
)
"""Tab-separated values with CSV quotes and a header; all splits are read."""

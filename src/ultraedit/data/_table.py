"""Tables of facts: cells under names, whatever kind of file they come from."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._columns import LISTS, ColumnPlan, Columns, plan
from ultraedit.data._files import require_file
from ultraedit.data._layout import Field, Layout, Values
from ultraedit.data._rows import Fault, Row


class Cells(NamedTuple):
    """One row of a table as its file holds it."""

    line: int
    """Where it starts, as the file counts: the line of a text, the row of a sheet."""

    values: Sequence[Any] | Fault


@dataclass(frozen=True)
class TableLayout(Layout):
    """The layout of a table, whose columns are found by their names."""

    cells: Callable[[Path], Iterator[Cells]] | None = None
    """Reads a file, its header first."""

    columns: Columns = ()
    """Columns that the user named."""

    def with_columns(self, columns: Columns) -> TableLayout:
        """The same layout with some columns named by the user."""
        assert self.cells is not None
        return table(self.cells, columns, check_path=self.check_path)

    def find_columns(self, path: Path) -> ColumnPlan | None:
        """Which columns of a file hold what; None if it has no header.

        Raises:
            DataError: If the file cannot be read, or a column that is needed is not found.
        """
        assert self.cells is not None
        return _plan_of(self.cells(path), self.columns, path)


def table(
    cells: Callable[[Path], Iterator[Cells]],
    columns: Columns = (),
    *,
    check_path: Callable[[Path], None] = require_file,
) -> TableLayout:
    """Make the layout of a kind of table.

    Args:
        cells: Reads a file, its header first.
        columns: Columns that the user named.
        check_path: Refuses a path at which there is nothing to read.
    """

    def rows(path: Path) -> Iterator[Row]:
        taken = cells(path)
        if (places := _plan_of(taken, columns, path)) is not None:
            yield from _rows(taken, places)

    return TableLayout(
        fields=FIELDS,
        edit=edit_of,
        rows=rows,
        blanks=True,
        guesses=True,
        cells=cells,
        columns=columns,
        check_path=check_path,
    )


def _plan_of(cells: Iterator[Cells], columns: Columns, path: Path) -> ColumnPlan | None:
    """Read the header of a table."""
    header = next(cells, None)
    if header is None:
        return None
    assert not isinstance(header.values, Fault)
    names = [text_of(name) or "" for name in header.values]
    return plan(names, columns, f"{path}, line {header.line}")


def _rows(cells: Iterator[Cells], places: ColumnPlan) -> Iterator[Row]:
    number = 0
    for line, values in cells:
        if isinstance(values, Fault):
            number += 1
            yield Row(number, line, values)
            continue
        if len(values) > places.width and any(_is_filled(each) for each in values[places.width :]):
            number += 1
            more = f"{len(values)} columns, expected {places.width}. Quote a text with separators"
            yield Row(number, line, Fault("malformed", more))
            continue
        row = values_of(places.places, values)
        # Spreadsheets write rows of nothing behind the last one that is filled.
        if row or any(_is_filled(each) for each in values):
            number += 1
            yield Row(number, line, _empty(row, places) or row)


def _empty(row: Values, places: ColumnPlan) -> Fault | None:
    """What is wrong with a row whose prompt or target has an empty cell: the column by its name."""
    for field in FIELDS:
        if field.required and field.name not in row:
            column = places.used[field.name][0]
            called = "" if column == field.name else f" (column {column!r})"
            return Fault("missing", f"{field.name}{called} has an empty cell", field.name)
    return None


def values_of(places: Sequence[tuple[str, int]], cells: Sequence[Any]) -> Values:
    """The parts of a fact out of the cells of a row; empty cells are left out.

    Args:
        places: Each part with the place of its cell.
        cells: The cells, of any kind. A row may be shorter than the header.
    """
    values: Values = {}
    for part, at in places:
        cell = cells[at] if at < len(cells) else None
        if part in LISTS:
            values.setdefault(part, []).extend(texts_of(cell))
        elif part == "target":
            answers = (
                texts_of(cell) if isinstance(cell, list | tuple | Mapping) else [text_of(cell)]
            )
            if answers and answers[0] is not None:
                values["target"] = answers[0]
                values.setdefault("aliases", []).extend(answers[1:])
        elif (text := text_of(cell)) is not None:
            values[part] = text
    return {part: value for part, value in values.items() if value != []}


def text_of(cell: Any) -> str | None:
    """A cell as the text that its table shows, without blanks around it; None for an empty one."""
    if isinstance(cell, str):
        return cell.strip() or None
    if cell is None:
        return None
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        if cell != cell:  # the NaN by which data frames mark an empty cell
            return None
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime.datetime):
        is_day = cell.time() == datetime.time()
        return cell.date().isoformat() if is_day else cell.isoformat(sep=" ")
    return str(cell)


def texts_of(cell: Any) -> list[str]:
    """A cell that may hold several texts: a list, a JSON list, or texts between ``|``."""
    if isinstance(cell, Mapping):  # {"text": [...], "answer_start": [...]}, as SQuAD has answers
        cell = cell.get("text")
    if isinstance(cell, str):
        cell = _split(cell)
    if not isinstance(cell, list | tuple):
        cell = [cell]
    return [text for each in cell if (text := text_of(each)) is not None]


def _split(cell: str) -> list[Any]:
    if cell.lstrip().startswith("["):
        try:
            value = json.loads(cell)
        except ValueError:
            value = None
        if isinstance(value, list):
            return value
    return cell.split("|")


def _is_filled(cell: Any) -> bool:
    return text_of(cell) is not None


def edit_of(values: Values, id: str, seed: int) -> Edit:
    """Turn the parts of a fact into an edit."""
    asked = values.get("locality", [])
    answers = [values.get("locality_target"), *[None] * len(asked)]
    about = values.get("input")
    return Edit(
        prompt=values["prompt"] if about is None else f"{values['prompt']}\n\n{about}",
        target=values["target"],
        subject=values.get("subject"),
        rephrases=tuple(values.get("rephrases", ())),
        locality=tuple(map(Question, asked, answers)),
        aliases=tuple(values.get("aliases", ())),
        id=id,
    )


FIELDS = (
    Field("prompt", kinds.text),
    Field("target", kinds.text),
    Field("input", kinds.text, required=False),
    Field("subject", kinds.text, required=False),
    Field("rephrases", kinds.texts, required=False),
    Field("aliases", kinds.texts, required=False),
    Field("locality", kinds.texts, required=False),
    Field("locality_target", kinds.text, required=False),
    Field("id", kinds.name, required=False),
)
"""The parts of a fact that a table can hold."""

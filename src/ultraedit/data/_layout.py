"""What a format demands of a row, as a table of fields, and what it makes of the row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import did_you_mean
from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._columns import part_of
from ultraedit.data._files import require_file
from ultraedit.data._json import json_rows
from ultraedit.data._rows import Fault, Row, shown

Values = dict[str, Any]
"""A row's values by key, nulls left out, each of the kind that its field asks for."""

Kind = Callable[[Any], Fault | None]
"""Finds what is wrong with one value that is not null."""


class Field(NamedTuple):
    """One key of a published or of our own layout."""

    name: str

    kind: Kind

    required: bool = True
    """Whether the key must be there and not null."""


ROW_NAMES = (
    Field("case_id", kinds.name, required=False),
    Field("id", kinds.name, required=False),
)
"""What published files may call a row's name."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of one format are read."""

    fields: tuple[Field, ...]

    edit: Callable[[Values, str, int], Edit]
    """Turns the checked values of a row, its name and the seed into an edit."""

    rows: Callable[[Path], Iterator[Row]] = json_rows
    """Takes a file apart. Rows that cannot be taken apart come as a fault, and the rest follows."""

    closed: bool = False
    """Whether a key that is no field is a fault. Published files carry keys of all sorts."""

    blanks: bool = False
    """Whether an empty text of an optional key counts as a missing one."""

    guesses: bool = False
    """Whether its parts are found by the names that a file happens to use."""

    check_path: Callable[[Path], None] = require_file
    """Refuses a path at which there is nothing to read."""

    def faults(self, row: Row) -> list[Fault]:
        """Find everything that is wrong with a row; nothing if it can be turned into an edit."""
        if isinstance(row.values, Fault):
            return [row.values]
        faults = self._unknown_keys(row.values) if self.closed else []
        for field in self.fields:
            fault = self._field_fault(field, row.values)
            if fault is not None:
                faults.append(fault)
        return faults

    def edit_of(self, row: Row, seed: int) -> Edit:
        """Turn a row without faults into an edit."""
        assert isinstance(row.values, dict)
        values = {key: value for key, value in row.values.items() if not self._is_null(value)}
        own = values.get("case_id", values.get("id"))
        return self.edit(values, str(row.number if own is None else own), seed)

    def _field_fault(self, field: Field, values: Values) -> Fault | None:
        value = values.get(field.name)
        if not (_is_null(value) if field.required else self._is_null(value)):
            fault = field.kind(value)
            return fault and fault._replace(text=f"{field.name}{fault.text}", field=field.name)
        if not field.required:
            return None
        has = "is null" if field.name in values else f"is missing, the row has {_listed(values)}"
        return Fault("missing", f"{field.name} {has}", field.name)

    def _is_null(self, value: Any) -> bool:
        return _is_null(value) or (self.blanks and isinstance(value, str) and not value.strip())

    def _unknown_keys(self, values: Values) -> list[Fault]:
        known = [field.name for field in self.fields]
        return [
            Fault("unknown", f"unknown key {key!r}. {_meant(key, known)}", key)
            for key in values
            if key not in known
        ]


def question(values: Values, prompt: str, target: str | None = None) -> tuple[Question, ...]:
    """Pair a question with its answer; nothing where the row has no question.

    Args:
        values: The row.
        prompt: Key of the question.
        target: Key of its answer, which may be null. None where the layout has no answer.
    """
    if prompt not in values:
        return ()
    return (Question(values[prompt], None if target is None else values.get(target)),)


def _meant(key: str, known: list[str]) -> str:
    """Say which key was meant: a near one, or the one that holds what others call so."""
    part = part_of(key)
    return f"Did you mean: {part}?" if part in known else did_you_mean(key, known)


def _is_null(value: Any) -> bool:
    # Files written through pandas hold a literal NaN where nothing is known.
    return value is None or (isinstance(value, float) and math.isnan(value))


def _listed(values: Values) -> str:
    return shown(", ".join(values), quote=False) if values else "no keys"

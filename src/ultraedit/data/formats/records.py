"""``json``: objects under names of any kind, as people and published instruction sets have them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ultraedit.data._chat import from_messages
from ultraedit.data._columns import part_of
from ultraedit.data._json import json_rows
from ultraedit.data._rows import Fault, Row
from ultraedit.data._table import Cells, table

_LOOKED_AT = 1000
"""Rows whose keys make the columns: not every row has every key."""


def from_records(rows: Iterator[Row]) -> Iterator[Cells]:
    """Rows of keys and values as the rows of a table, under a header of all keys.

    Args:
        rows: The rows. Lists of messages are turned into a prompt and a target.
    """
    plain = (Row(row.number, row.line, _plain(row.values)) for row in rows)
    first = list(islice(plain, _LOOKED_AT))
    keys = dict.fromkeys(key for row in first if isinstance(row.values, dict) for key in row.values)
    if not first:
        return
    header = tuple(keys)
    yield Cells(first[0].line, header)
    for _, line, values in chain(first, plain):
        if isinstance(values, Fault):
            yield Cells(line, values)
            continue
        late = next((key for key in values if key not in keys and part_of(key)), None)
        if late is not None:
            reason = f"the key {late!r} is in none of the first {_LOOKED_AT:,} rows"
            yield Cells(line, Fault("unknown", f"{reason}. Put a row with it there", late))
            continue
        yield Cells(line, [values.get(key) for key in header])


def _plain(values: dict[str, Any] | Fault) -> dict[str, Any] | Fault:
    return values if isinstance(values, Fault) else from_messages(values)


def _cells(path: Path) -> Iterator[Cells]:
    return from_records(json_rows(path))


LAYOUT = table(_cells)
"""A JSON array, ``{"data": [...]}``, or JSON lines."""

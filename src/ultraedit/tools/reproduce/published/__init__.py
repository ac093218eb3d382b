"""The numbers that the paper prints, one file for each table and figure, read as they stand."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Published(NamedTuple):
    """The numbers of one table or figure."""

    source: str
    """Where they are printed."""

    notes: tuple[str, ...]
    """What a reader of them has to know."""

    rows: tuple[dict[str, str], ...]

    def value(self, **keys: str) -> float | None:
        """The number of the row with these values; None where the paper has none."""
        for row in self.rows:
            if all(row[name] == value for name, value in keys.items()):
                return float(row["value"])
        return None


NOT_PUBLISHED = Published("nothing, since no paper has this table", (), ())
"""What stands for the numbers of a table of our own."""


@cache
def published(id: str) -> Published:
    """Read the file of a table or figure: lines of comment, a header, and a row a number."""
    text = (files(__name__) / f"{id}.csv").read_text(encoding="utf-8")
    lines = text.splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return Published(comments[0].removeprefix("source: "), tuple(comments[1:]), tuple(rows))

"""Edits out of a file, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from os import PathLike

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit
from ultraedit.data._columns import check_columns
from ultraedit.data._layout import Layout
from ultraedit.data._registry import find_format, list_formats
from ultraedit.data._spec import DataSpec, parse_spec
from ultraedit.data._table import TableLayout


def stream(
    spec: DataSpec | str | PathLike[str],
    *,
    limit: int | None = None,
    seed: int = 0,
    skip: int = 0,
    columns: Mapping[str, str] | None = None,
) -> Iterator[Edit]:
    """Read edits as they are needed, in memory that does not grow with the file.

    A wrong format, limit or path is refused at once, everything else when its row is reached.

    Args:
        spec: The file and its format, as a `DataSpec` or as ``FORMAT:PATH``.
        limit: Take the first so many rows. None takes all.
        seed: Decides what is drawn where a data set offers a choice (`fever`). The draw of a
            row depends on the seed and the row's name alone.
        skip: Pass over so many rows of these first, without looking at them.
        columns: Names of columns of a table by the part of a fact that they hold, such as
            ``{"prompt": "Question"}``. None finds all by the names that they usually have.

    Returns:
        An iterator over the edits, in the order of the file.

    Raises:
        ConfigError: If the format is unknown or the limit is not positive.
        DataError: If the file is missing or cannot be read, has no rows, or a row cannot be
            used. No row is ever left out.
    """
    spec, layout = resolve(spec, limit, columns)
    return _edits(spec, layout, limit, seed, skip)


def read(
    spec: DataSpec | str | PathLike[str],
    *,
    limit: int | None = None,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
) -> list[Edit]:
    """Read edits into a list. Arguments and errors are those of `stream`."""
    return list(stream(spec, limit=limit, seed=seed, columns=columns))


def resolve(
    spec: DataSpec | str | PathLike[str],
    limit: int | None,
    columns: Mapping[str, str] | None = None,
) -> tuple[DataSpec, Layout]:
    """Find what a reader of `spec` needs, refusing what can be refused without reading."""
    if not isinstance(spec, DataSpec):
        spec = parse_spec(os.fspath(spec))
    if columns:
        spec = spec.with_columns(check_columns(columns))
    layout = find_format(spec.format).layout
    if spec.columns:
        layout = _with_columns(layout, spec)
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be at least 1, got {limit}. Leave it out to take all rows.")
    layout.check_path(spec.path)
    return spec, layout


def _with_columns(layout: Layout, spec: DataSpec) -> Layout:
    if not isinstance(layout, TableLayout):
        tables = [row.name for row in list_formats() if isinstance(row.layout, TableLayout)]
        raise ConfigError(
            f"{spec.format} has keys of its own, and --columns names those of a table. Leave it "
            f"out, or name one of {', '.join(tables)} before the file."
        )
    return layout.with_columns(check_columns(spec.columns))


def no_rows(spec: DataSpec) -> str:
    """Say that a file holds nothing."""
    return f"{spec.path} has no rows, expected at least one edit in the format {spec.format}."


def _edits(
    spec: DataSpec, layout: Layout, limit: int | None, seed: int, skip: int
) -> Iterator[Edit]:
    is_empty = True
    for number, row in enumerate(islice(layout.rows(spec.path), limit)):
        is_empty = False
        if number < skip:
            continue
        faults = layout.faults(row)
        if faults:
            raise DataError(
                f"{spec.path}, {row.place}: {faults[0].sentence} "
                f"Run `ultraedit data check {spec}` to see every bad row."
            )
        yield layout.edit_of(row, seed)
    if is_empty:
        raise DataError(no_rows(spec))

"""The file of facts of a command: its columns as the user names them, and a look at its rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import typer

from ultraedit.cli import _output
from ultraedit.errors import ConfigError

SHOWN = 3
"""Rows that are shown before anything is written."""


def with_columns(data: str | None, columns: str | None) -> str | None:
    """Name the columns of a file of facts within its name.

    Args:
        data: The file, as ``FORMAT:PATH`` or a path; None if none was given.
        columns: ``PART=COLUMN`` pairs, as the user gave them.

    Raises:
        ConfigError: If there is no file for the columns, or they cannot be read.
    """
    if columns is None:
        return data
    if data is None:
        raise ConfigError("--columns names columns of a file of facts: give the file with --data.")
    from ultraedit.data import parse_spec
    from ultraedit.data._columns import parse_columns

    return str(parse_spec(data).with_columns(parse_columns(columns)))


def show_first_rows(data: str, *, ask: bool) -> None:
    """Show what is read from a file whose columns are found by their names.

    Args:
        data: The file, as ``FORMAT:PATH``. One with keys of its own is not shown.
        ask: Whether to ask a user at a terminal to go on.

    Raises:
        DataError: If the file cannot be read.
    """
    from ultraedit.data import stream
    from ultraedit.data._stream import resolve
    from ultraedit.data._table import Table

    spec, layout = resolve(data, SHOWN)
    if not layout.guesses:
        return
    if isinstance(layout, Table) and (plan := layout.find_columns(spec.path)) is not None:
        said = [f"{part} from {_listed(names)}" for part, names in plan.used.items()]
        unused = f"; not used: {_listed(plan.unused)}" if plan.unused else ""
        _output.message(f"{spec.path}: {', '.join(said)}{unused}.")
    edits = list(stream(spec, limit=SHOWN))
    _output.table(
        ["id", "prompt", "target"],
        [(edit.id, edit.prompt, edit.target) for edit in edits],
        title="The first facts" if len(edits) > 1 else "The first fact",
        stderr=True,
    )
    if ask and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("Write facts such as these?", default=True, abort=True, err=True)


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))

"""``ultraedit editors``: which methods there are, and what options each has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._help import add, group

if TYPE_CHECKING:
    from ultraedit.editors import EditorRow

app = group(
    """List the editors, and the options of each.

    Examples:
      ultraedit editors list
      ultraedit editors show ultraedit
    """
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of an editor.")]


def list_all(json: o.Json = False) -> None:
    r"""List the editors.

    Examples:
      ultraedit editors list
      ultraedit editors list --json
    """
    from ultraedit.editors import EDITORS

    rows = [_facts(row) for row in EDITORS.values()]
    if json:
        _output.write_json(rows)
    else:
        columns = ("name", "title", "family", "year", "summary")
        _output.table(columns, [[row[c] for c in columns] for row in rows], whole=["name"])


def show(name: Name, json: o.Json = False) -> None:
    r"""Show what an editor does and the options that `ultraedit run --set` takes.

    Examples:
      ultraedit editors show ultraedit
      ultraedit editors show ultraedit --json
    """
    from ultraedit.cli._fields import describe_fields
    from ultraedit.editors import find_editor

    row = find_editor(name)
    options = describe_fields(row.load(), row.options)
    if json:
        _output.write_json(_facts(row) | {"options": [each._asdict() for each in options]})
        return
    _output.pairs({key.replace("_", " "): _worded(value) for key, value in _facts(row).items()})
    _output.line()
    columns = ("option", "values", "default", "")
    _output.table(columns, [(e.name, e.type, e.default, e.text) for e in options], whole=["option"])


def _facts(row: EditorRow) -> dict[str, Any]:
    names = ("name", "title", "summary", "family", "paper", "year", "url")
    needs = ("needs_training", "needs_subject", "needs_statistics")
    return {name: getattr(row, name) for name in (*names, *needs)}


def _worded(value: Any) -> Any:
    return ("no", "yes")[value] if isinstance(value, bool) else value


add(app, "list", list_all)
add(app, "show", show)

"""``ultraedit find``: which turn wrote a fact, and what became of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output

if TYPE_CHECKING:
    from ultraedit.store import Journal, StoredEdit

Text = Annotated[
    str,
    typer.Argument(
        metavar="TEXT", help="Part of a prompt or a target, in any case.", show_default=False
    ),
]


def find(folder: o.RunArgument, text: Text, json: o.Json = False) -> None:
    r"""Find the edits of a run that have a text in their prompt or target.

    Examples:
      ultraedit find edited "native language"
      ultraedit find edited Paris --json
    """
    from ultraedit.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    found = [(each, _fate(journal, each)) for each in journal.find(text)]
    journal.close()
    if json:
        rows = [
            {"turn": each.turn, "state": fate or "holds"} | asdict(each.edit)
            for each, fate in found
        ]
        _output.write_json(rows)
        return
    if not found:
        _output.message(f"No edit in {folder} has {text!r} in its prompt or its target.")
        return
    _output.table(
        ["turn", "id", "prompt", "target", "now"],
        [
            (each.turn, each.edit.id, each.edit.prompt, each.edit.target, fate or "holds")
            for each, fate in found
        ],
        right=["turn"],
    )


def _fate(journal: Journal, found: StoredEdit) -> str | None:
    """What became of an edit; None if it holds."""
    if found.undone is not None:
        return "rolled back"
    if found.reverted_by is not None:
        return f"taken out by turn {found.reverted_by}"
    later = [
        each
        for each in journal.edits_of_prompt(found.edit.prompt)
        if each.reverted_by is None and each.row > found.row
    ]
    if not later or later[-1].edit.target == found.edit.target:
        return None
    return f"overruled by turn {later[-1].turn}: {later[-1].edit.target}"

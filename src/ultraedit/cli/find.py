"""``ultraedit find``: which turn wrote a fact, and what became of it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output

if TYPE_CHECKING:
    from ultraedit.runs.store import Journal, StoredEdit

Text = Annotated[
    str,
    typer.Argument(
        metavar="TEXT",
        help="Part of a prompt or a target, or an id, in any case.",
        show_default=False,
    ),
]


First = Annotated[
    int | None,
    typer.Option(
        "--first",
        metavar="N",
        min=1,
        help="Show the N earliest edits. \\[default: all]",
        show_envvar=False,
        show_default=False,
    ),
]


def find(folder: o.RunArgument, text: Text, first: First = None, json: o.Json = False) -> None:
    r"""Find the edits of a run that have a text in their prompt or target, or as their id.

    Examples:
      ultraedit find edited "native language"
      ultraedit find edited Paris --json
    """
    from ultraedit.runs.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    matching = [(each, _fate(journal, each)) for each in islice(journal.find(text), first)]
    journal.close()
    if json:
        rows = [
            {"turn": each.turn, "state": fate or "holds"} | asdict(each.edit)
            for each, fate in matching
        ]
        _output.write_json(rows)
        return
    if not matching:
        _output.message(
            f"No edit in {folder} has {text!r} in its prompt or its target, or as its id."
        )
        return
    _output.table(
        ["turn", "id", "prompt", "target", "now"],
        [
            (each.turn, each.edit.id, each.edit.prompt, each.edit.target, fate or "holds")
            for each, fate in matching
        ],
        right=["turn"],
    )


def _fate(journal: Journal, stored: StoredEdit) -> str | None:
    """What became of an edit; None if it holds."""
    if stored.undone is not None:
        return "rolled back"
    if stored.reverted_by is not None:
        return f"taken out by turn {stored.reverted_by}"
    last = journal.last_of_prompt(stored.edit.prompt)
    if last is None or last.row <= stored.row or last.edit.target == stored.edit.target:
        return None
    return f"overruled by turn {last.turn}: {last.edit.target}"

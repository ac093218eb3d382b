"""``ultraedit show``: one turn of a run, with its edits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output

Turn = Annotated[
    str,
    typer.Argument(
        metavar="TURN|EDIT",
        help="Number of a turn; or the id of an edit, its prompt, or a part of that.",
        show_default=False,
    ),
]


def show(folder: o.RunArgument, turn: Turn, json: o.Json = False) -> None:
    r"""Show a turn of a run, its edits and what it did to each module, or a single edit.

    Examples:
      ultraedit show edited 3
      ultraedit show edited "native language of Ada"
      ultraedit show edited 3 --json
    """
    if turn.removeprefix("-").isdecimal():
        _show_turn(folder, int(turn), json=json)
    else:
        _show_edit(folder, turn, json=json)


def _show_edit(folder: Path, name: str, *, json: bool) -> None:
    from ultraedit.runs.revert import find_edits
    from ultraedit.runs.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    try:
        (stored,) = find_edits(journal, [name], None)
    finally:
        journal.close()
    edit = stored.edit
    if json:
        _output.write_json({"turn": stored.turn} | asdict(edit))
        return
    questions = {
        name.replace("_", " "): [
            f"{q.prompt} ({q.target})" if q.target else q.prompt for q in asked
        ]
        for name, asked in {"locality": edit.locality, **edit.probes}.items()
    }
    _output.pairs(
        {
            "turn": f"{stored.turn:,}",
            "id": edit.id,
            "prompt": edit.prompt,
            "target": edit.target,
            "aliases": "\n".join(edit.aliases) or None,
            "subject": edit.subject,
            "rephrases": "\n".join(edit.rephrases) or None,
        }
        | {name: "\n".join(texts) or None for name, texts in questions.items()}
    )


def _show_turn(folder: Path, turn: int, *, json: bool) -> None:
    from ultraedit.report import format_number, format_seconds
    from ultraedit.runs.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    entry, edits = journal.turn(turn), journal.turn_edits(turn)
    taken_out = journal.taken_out(turn)
    journal.close()
    if json:
        _output.write_json(
            {
                "turn": entry.number,
                "kind": entry.kind,
                "finished": entry.finished,
                "record": entry.record,
                "edits": [asdict(e.edit) | {"reverted_by": e.reverted_by} for e in edits],
                "taken_out": [asdict(e.edit) | {"turn": e.turn} for e in taken_out],
            }
        )
        return
    _output.table(
        ["id", "prompt", "target", ""],
        [
            (each.edit.id, each.edit.prompt, each.edit.target, _fate(each.turn, each.reverted_by))
            for each in edits
        ]
        + [(e.edit.id, e.edit.prompt, e.edit.target, f"of turn {e.turn}") for e in taken_out],
        title=f"Turn {turn}" if edits else f"Turn {turn} took out",
    )
    _output.line()
    _output.table(
        ["module", "change"],
        [(path, format_number(norm)) for path, norm in entry.record["norms"].items()],
        title="Accumulated change after it, of the unedited norm",
        right=["change"],
    )
    _output.line()
    _output.pairs(
        {
            "finished": entry.finished.replace("T", " ").split(".")[0],
            "time": format_seconds(entry.record["seconds"]),
            "edits in all": f"{entry.record['total_edits']:,}",
        }
    )


def _fate(turn: int, reverted_by: int | None) -> str | None:
    return None if reverted_by is None else f"taken out by turn {reverted_by}"

"""``ultraedit history``: the turns of a run, with what each did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output

if TYPE_CHECKING:
    from ultraedit.runs.store import Entry, Journal


Last = Annotated[
    int | None,
    typer.Option(
        "--last",
        metavar="N",
        min=1,
        help="Show the last N turns. \\[default: all]",
        show_envvar=False,
        show_default=False,
    ),
]


def history(folder: o.RunArgument, last: Last = None, json: o.Json = False) -> None:
    r"""List the turns of a run, those that were rolled back too.

    Examples:
      ultraedit history edited
      ultraedit history edited --last 20
      ultraedit history edited --json
    """
    from ultraedit.runs.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    checkpoints = {c.record["turn"]: c.record["scores"] for c in journal.checkpoints()}
    snapshots = {file.turn for file in journal.files() if file.turn is not None}
    turns = [
        {
            "turn": entry.number,
            "kind": entry.kind,
            "edits": entry.record["edits"],
            "total_edits": entry.record["total_edits"],
            "finished": entry.finished,
            "seconds": entry.record["seconds"],
            "norms": entry.record["norms"],
            "scores": None if entry.undone else checkpoints.get(entry.number),
            "snapshot": entry.number in snapshots and entry.undone is None,
            "undone": entry.undone,
        }
        for entry in journal.turns(undone=True, last=last)
    ]
    state = _state(journal)
    journal.close()
    if json:
        _output.write_json({"folder": str(folder)} | state | {"turns": turns})
        return
    _show(turns)
    _output.line()
    _output.line(_sentence(state))


def _state(journal: Journal) -> dict[str, Any]:
    head = journal.head()
    last: Entry | None = journal.turn(head) if head else None
    return {
        "model": journal.value("settings")["model"],
        "editor": journal.value("settings")["editor"],
        "head": head,
        "edits": last.record["total_edits"] if last else 0,
        "finished": journal.job().ended is not None,
    }


def _show(turns: list[dict[str, Any]]) -> None:
    from ultraedit.report import format_number, format_percent, format_seconds

    columns = {
        "turn": [turn["turn"] for turn in turns],
        "what": [_what(turn) for turn in turns],
        "in all": [f"{turn['total_edits']:,}" for turn in turns],
        "time": [format_seconds(turn["seconds"]) for turn in turns],
        "finished": [turn["finished"].replace("T", " ")[:16] for turn in turns],
        "change": [format_number(max(turn["norms"].values(), default=None)) for turn in turns],
        "efficacy": [
            format_percent(turn["scores"]["efficacy"]) if turn["scores"] else None for turn in turns
        ],
        "state": [_state_of(turn) for turn in turns],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    _output.table(
        list(shown),
        zip(*shown.values(), strict=True),
        right=["turn", "in all", "time", "change", "efficacy"],
        whole=["what", "finished", "state"],
    )


def _what(turn: dict[str, Any]) -> str:
    from ultraedit.report import format_count

    return format_count(turn["edits"], "edit") + (" out" if turn["kind"] == "revert" else "")


def _state_of(turn: dict[str, Any]) -> str | None:
    return "rolled back" if turn["undone"] else "kept" if turn["snapshot"] else None


def _sentence(state: dict[str, Any]) -> str:
    from ultraedit.report import format_count

    where = f"The run stands at turn {state['head']} with {format_count(state['edits'], 'edit')}"
    if not state["finished"]:
        return f"{where}. It was interrupted, or is at work."
    return (
        f"{where}. A turn's change is the largest of all modules so far, as a part of its unedited "
        "norm; a turn that is kept has a snapshot."
    )

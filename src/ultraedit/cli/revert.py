"""``ultraedit revert``: single edits out of a run, all others kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.types import to_json

if TYPE_CHECKING:
    from ultraedit.runs.revert import BeforeAndAfter

Edits = Annotated[
    list[str],
    typer.Option(
        "--edit",
        metavar="EDIT",
        help="Id of an edit, as `ultraedit find` gives it, its prompt, or a part of that. May be "
        "repeated.",
        show_envvar=False,
        show_default=False,
    ),
]
Turn = Annotated[
    int | None,
    typer.Option(
        "--turn",
        metavar="TURN",
        help="The turn that wrote them, where an id occurs in several.",
        show_envvar=False,
    ),
]


def revert(folder: o.RunArgument, edit: Edits, turn: Turn = None, json: o.Json = False) -> None:
    r"""Take single edits out of a run and keep what all others did.

    Examples:
      ultraedit revert edited --edit 17
      ultraedit revert edited --edit "native language of Ada" --edit 42

    Their turns are solved again without them; the difference is taken off the weights and recorded
    as a turn, which `ultraedit rollback` can take back.
    """
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.runs.revert import revert as take_out

        done = take_out(folder, edit, turn, observer)
    if json:
        _output.write_json(
            {
                "folder": str(folder),
                "turn": done.turn,
                "taken_out": [{"turn": each.turn} | asdict(each.edit) for each in done.taken_out],
                "removed": _as_json(done.removed),
                "remaining": done.remaining and _as_json(done.remaining),
            }
        )
        return
    for title, group in (("taken out", done.removed), ("remaining", done.remaining)):
        if group is not None:
            _output.line(f"{group.edits:,} {title}")
            _output.scores({"before": to_json(group.before), "after": to_json(group.after)})
            _output.line()
    _output.line(f"Recorded as turn {done.turn}.")


def _as_json(group: BeforeAndAfter) -> dict[str, object]:
    return {"edits": group.edits, "before": to_json(group.before), "after": to_json(group.after)}

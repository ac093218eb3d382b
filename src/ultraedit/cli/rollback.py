"""``ultraedit rollback``: a run stands where an earlier turn left it."""

from __future__ import annotations

from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress

ToTurn = Annotated[
    int,
    typer.Option(
        "--to-turn",
        metavar="TURN",
        help="The turn to go back to; 0 is the unedited model.",
        show_envvar=False,
        show_default=False,
    ),
]


def rollback(folder: o.RunArgument, to_turn: ToTurn, json: o.Json = False) -> None:
    r"""Bring a run back to an earlier turn, exactly: weights, statistics and saved model.

    Examples:
      ultraedit rollback edited --to-turn 5
      ultraedit rollback edited --to-turn 0

    The turns after it stay on record, marked, until `ultraedit prune`. `ultraedit edit --append`
    goes on from here; `ultraedit eval DIR` scores the active edits.
    """
    from ultraedit.report import format_count

    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.runs.rollback import rollback as roll_back

        done = roll_back(folder, to_turn, observer)
    if json:
        model = None if done.model is None else str(done.model)
        _output.write_json({"folder": str(folder)} | done._asdict() | {"model": model})
        return
    _output.pairs(
        {
            "stands at": f"turn {done.turn} with {format_count(done.edits, 'edit')}",
            "rolled back": format_count(done.undone, "turn"),
            "model": done.model,
        }
    )
    _output.line()
    _output.line(f"Try next: ultraedit eval {folder}")

"""``ultraedit prune``: forget what was rolled back."""

from __future__ import annotations

from ultraedit.cli import _options as o
from ultraedit.cli import _output


def prune(folder: o.RunArgument, json: o.Json = False) -> None:
    r"""Forget the turns of a run that were rolled back. This cannot be undone.

    Examples:
      ultraedit prune edited
      ultraedit prune runs/ultraedit-smollm2-zsre-1 --json
    """
    from ultraedit.report import format_count
    from ultraedit.runs.rollback import prune as forget

    turns = forget(folder)
    if json:
        _output.write_json({"folder": str(folder), "forgotten": turns})
    else:
        _output.line(f"{format_count(turns, 'turn')} forgotten.")

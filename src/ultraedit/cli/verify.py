"""``ultraedit verify``: whether a run folder is what it was."""

from __future__ import annotations

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress

DAMAGED = 1
"""Exit code where something is damaged."""


def verify(folder: o.RunArgument, json: o.Json = False) -> None:
    r"""Check every file of a run, and that its model is the unedited one plus the edits.

    Examples:
      ultraedit verify edited
      ultraedit verify runs/ultraedit-smollm2-zsre-1 --json

    Ends with exit code 1 where something is damaged. Nothing is changed.
    """
    from ultraedit.report import format_count

    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.runs.verify import verify as check

        found = check(folder, observer)
    if json:
        damages = [damage._asdict() for damage in found.damages]
        _output.write_json(
            {"folder": str(folder), "whole": found.is_whole}
            | found._asdict()
            | {"damages": damages}
        )
    else:
        if found.damages:
            _output.table(["damaged", "what is wrong"], found.damages)
            _output.line()
        for sentence in (found.weights, *found.notes):
            _output.line(sentence)
        whole = "all of them whole" if found.is_whole else f"{len(found.damages):,} damaged"
        _output.line(f"{format_count(found.files, 'file')}, {whole}.")
    if not found.is_whole:
        raise typer.Exit(DAMAGED)

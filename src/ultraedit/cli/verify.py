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

        verified = check(folder, observer)
    if json:
        damages = [damage._asdict() for damage in verified.damages]
        _output.write_json(
            {"folder": str(folder), "whole": verified.is_whole}
            | verified._asdict()
            | {"damages": damages}
        )
    else:
        if verified.damages:
            _output.table(["damaged", "what is wrong"], verified.damages)
            _output.line()
        for sentence in (verified.weights, *verified.notes):
            _output.line(sentence)
        whole = "all of them whole" if verified.is_whole else f"{len(verified.damages):,} damaged"
        _output.line(f"{format_count(verified.files, 'file')}, {whole}.")
    if not verified.is_whole:
        raise typer.Exit(DAMAGED)

"""``ultraedit inspect``: what an exported file says of itself, and whether it is a run's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A delta, a .gguf file, or the folder of a PEFT adapter.",
        show_default=False,
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        help="Compare it with this run: what it says, and every edited weight.",
        show_envvar=False,
        show_default=False,
    ),
]
Base = Annotated[
    Path | None,
    typer.Option(
        "--base",
        metavar="FILE",
        help="With --run: compare the unedited tensors of a GGUF file with this one's. [default: "
        "the file that the run was made on]",
        show_envvar=False,
        show_default=False,
    ),
]


def inspect(file: File, run: Run = None, base: Base = None, json: o.Json = False) -> None:
    r"""Show where an exported file comes from, and check it against its run.

    Examples:
      ultraedit inspect edited.gguf
      ultraedit inspect facts.safetensors --run demo-run

    With --run the command ends with exit code 1 where something differs.
    """
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.export.inspection import inspect as read
        from ultraedit.export.inspection import scores_line

        contents = read(file, run, base, observer)
    if json:
        _output.write_json(
            {
                "file": str(file),
                "kind": contents.kind,
                "about": dict(contents.about),
                "holds": dict(contents.holds),
                "checks": [check._asdict() for check in contents.checks],
                "as_written": contents.is_as_written if contents.checks else None,
            }
        )
    else:
        about = {name: said for name, said in contents.about.items() if name != "scores"}
        said = {} if about else {"provenance": "none: the file was not made by ultraedit"}
        _output.pairs(
            {
                "kind": contents.kind,
                **about,
                **said,
                "scores": scores_line(contents.about),
                **contents.holds,
            }
        )
        if contents.checks:
            _output.line()
            _output.table(
                ["compared with the run", "", ""],
                [
                    (each.name, _output.TICK if each.ok else _output.CROSS, each.said)
                    for each in contents.checks
                ],
            )
    if not contents.is_as_written:
        raise typer.Exit(1)

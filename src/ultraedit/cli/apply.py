"""``ultraedit apply``: put the changes of runs on their base model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError
from ultraedit.core.settings import FACTS, OUTPUT

Base = Annotated[
    str,
    typer.Argument(metavar="BASE", help=f"The unedited model. {o.MODEL_HELP}"),
]
Deltas = Annotated[
    list[Path] | None,
    typer.Argument(metavar="DELTA", help="Files from `ultraedit export --as delta`."),
]
Subtract = Annotated[
    list[Path] | None,
    typer.Option(
        "--subtract",
        metavar="DELTA",
        help="Subtract the change of this file. May be repeated. \\[default: none]",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for the edited model, new or empty. Must be given.",
        rich_help_panel=OUTPUT,
        show_envvar=False,
    ),
]


def apply(
    base: Base,
    deltas: Deltas = None,
    subtract: Subtract = None,
    out: Out = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Put the changes of one or several runs on the model that they were made on.

    Examples:
      ultraedit apply smollm2 facts.safetensors --out edited
      ultraedit apply smollm2 a.safetensors --subtract b.safetensors --out c

    Another model is refused, also the same one in another precision; the precision is that of the
    runs. One delta alone gives the weights of its run to the last bit.
    """
    if out is None:
        raise ConfigError("--out is missing. Give the name of a folder for the edited model.")
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.export.apply import apply_to

        done = apply_to(
            base, deltas or [], subtract or [], out, device=device or "auto", observer=observer
        )
    rows = [
        {
            "sign": "+" if sign > 0 else "-",
            "delta": delta.source,
            "edits": delta.edits,
            "editor": delta.editor,
            "created": delta.created,
        }
        for delta, sign in zip(done.deltas, done.signs, strict=True)
    ]
    if json:
        dtype = done.deltas[0].dtype
        _output.write_json({"model": str(out), "base": base, "dtype": dtype, "deltas": rows})
        return
    _output.table(
        ["", "delta", "edits", "editor", "made"],
        [list(row.values()) for row in rows],
        right=["edits"],
    )
    _output.line()
    _output.pairs({"edited model": out, "precision": done.deltas[0].dtype})
    _output.line()
    command = shlex.join(["ultraedit", "ask", str(out), "Your question", "--beside", base])
    _output.line(f"Try next: {command}")

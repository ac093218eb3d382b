"""``ultraedit edit``: a run with the few settings that most people need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._facts import with_columns
from ultraedit.cli._job import (
    add_to,
    carry_out,
    default_out,
    look_at_facts,
    refuse_beside,
    settle,
    show,
    start,
)
from ultraedit.cli._progress import progress
from ultraedit.cli._settings import OF_APPEND, OF_EDIT, with_settings
from ultraedit.core.settings import FACTS
from ultraedit.editors import DEFAULT_EDITOR

Facts = Annotated[
    str,
    typer.Argument(metavar="FACTS", help="A .jsonl, .csv or .tsv file of facts, or FORMAT:PATH."),
]

Append = Annotated[
    Path | None,
    typer.Option(
        "--append",
        metavar="DIR",
        help="Add the facts to the run in this folder, with its model, editor and statistics, as "
        "further turns.",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]


FIRST = (
    *("model", "out", "append", "limit", "edits_per_turn", "editor", "form", "use_rephrases"),
    *("device", "dry_run"),
)
"""The options of the main panel."""


@with_settings(
    OF_EDIT, first=FIRST, defaults={"editor": f"{DEFAULT_EDITOR}, or ultraedit with --eta"}
)
def edit(
    facts: Facts,
    given: dict[str, Any],
    columns: o.Columns = None,
    out: o.Out = None,
    append: Append = None,
    yes: o.Yes = False,
    strict: o.Strict = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    r"""Write a file of facts into a model and keep the result.

    Examples:
      ultraedit edit facts.jsonl --model smollm2 --out edited
      ultraedit edit facts.csv --model model.gguf --out fixed.gguf
      ultraedit edit tomorrow.jsonl --append edited

    A line of facts.jsonl is at least {"prompt": "The capital of X is", "target": "Y"}; see
    `ultraedit data show jsonl` for the rest. The columns of a table are found by their names, and
    its first facts are shown before they are written. The edited model is in the folder model/ of
    --out; a GGUF file comes back as one where --out ends with .gguf, and its run is kept in runs/.
    Facts are written by the editor anchored; `ultraedit run` takes the paper's editor, ultraedit,
    where none is named, and has more settings.
    """
    given["data"] = with_columns(facts, columns)
    if append is not None:
        changes = {name: value for name, value in given.items() if name in OF_APPEND}
        others = {name: value for name, value in given.items() if name not in changes}
        refuse_beside("--append", others | {"out": out, "dry_run": dry_run or None})
        add_to(append, changes, yes=yes, strict=strict, json=json)
        return
    given["chat_answers"] = True
    if "editor" not in given and "eta" not in given:
        given["editor"] = DEFAULT_EDITOR
    into_gguf = out is not None and out.suffix.lower() == ".gguf"
    if out is not None and into_gguf and not dry_run:
        _into_gguf(given, out, yes=yes, strict=strict, json=json)
        return
    target = None if into_gguf else out
    start(settle(given), target, dry_run=dry_run, yes=yes, strict=strict, json=json)


def _into_gguf(given: dict[str, Any], out: Path, *, yes: bool, strict: bool, json: bool) -> None:
    """Edit the model of a GGUF file and give the same file back with the edits in it."""
    config = settle(given | {"save_model": False})
    folder = default_out(config)
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.export.gguf import check_target

        check_target(out, config.model)
    look_at_facts(config, None, strict=strict, yes=yes, ask=not json)
    done = carry_out(config, folder)
    with progress() as observer:
        from ultraedit.export.registry import FORMATS

        exported = FORMATS["gguf"].load()(folder, out, {}, observer)
    if json:
        _output.write_json(
            {"folder": str(folder), **done.summary, "out": str(out), "gguf": exported.facts}
        )
        return
    show(done, json=False)
    _output.line()
    _output.pairs({**exported.pairs, "gguf": out, "run": folder})
    _output.line()
    for command in exported.commands:
        _output.line(f"Run it: {command}")

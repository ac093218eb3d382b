"""``ultraedit run``: one editor, one model, one file of facts, every setting at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli._facts import with_columns
from ultraedit.cli._job import go_on, refuse_beside, settle, start
from ultraedit.cli._settings import OF_RUN, with_settings
from ultraedit.core.errors import ConfigError
from ultraedit.core.settings import FACTS

Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="DIR",
        help="Go on with the run in this folder after its last whole turn. No other setting is "
        "needed, or taken.",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]

FIRST = (
    *("model", "data", "editor", "modules", "eta", "limit", "edits_per_turn"),
    *("out", "dry_run", "resume"),
)
"""The options of the main panel."""


@with_settings(OF_RUN, first=FIRST)
def run(
    given: dict[str, Any],
    columns: o.Columns = None,
    set: o.Assignments = None,
    config: o.Config = None,
    out: o.Out = None,
    resume: Resume = None,
    yes: o.Yes = False,
    strict: o.Strict = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    r"""Edit a model with a file of facts and score it before and after.

    Examples:
      ultraedit run --model smollm2 --data zsre:zsre_10k.json --limit 300
      ultraedit run --model ./my-model --data facts.jsonl --eta auto --dry-run
      ultraedit run --resume runs/ultraedit-smollm2-zsre-1

    The folder of the results gets journal.sqlite, which `ultraedit history` shows, summary.json,
    records.jsonl, answers.jsonl, report.md with its plots, report.html, which is the same page in
    one file, config.json, which repeats the run with --config, and the edited model in model/.
    Ctrl-C ends a run after the turn at work.

    torchrun --nproc-per-node N -m ultraedit run ... divides the work among N processes.
    """
    if columns is not None or "data" in given:
        given["data"] = with_columns(given.get("data"), columns)
    root = given.pop("ability_data", None)
    given["ability_data"] = _ability_data(given.get("ability"), root)
    if resume is not None:
        others = given | {"config": config, "set": set, "out": out, "dry_run": dry_run or None}
        refuse_beside("--resume", others)
        go_on(resume, json=json)
        return
    settings = settle(given, config=config, assignments=set or ())
    start(settings, out, dry_run=dry_run, yes=yes, strict=strict, json=json)


def _ability_data(tasks: str | None, root: str | None) -> str | None:
    """The data folder with the rows of tasks; None where there is none, or no task.

    Raises:
        ConfigError: If one is given without tasks.
        DataError: If it is no folder.
    """
    from ultraedit.data import find_root

    if tasks is None:
        if root is not None:
            raise ConfigError(
                "--data-root is for the tasks of --ability. Add them, or leave it out."
            )
        return None
    folder = find_root(None if root is None else Path(root))
    return str(folder) if folder is not None and (folder / "general").is_dir() else None

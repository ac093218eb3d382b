"""``ultraedit edit``: a run with the few settings that most people need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli._job import add_to, refuse_beside, settle, start

Facts = Annotated[
    str, typer.Argument(metavar="FACTS", help="A .jsonl file of facts, or FORMAT:PATH.")
]

Append = Annotated[
    Path | None,
    typer.Option(
        "--append",
        metavar="DIR",
        help="Add the facts to the run in this folder, with its model, editor and statistics, as "
        "further turns.",
        rich_help_panel=o.WHAT,
        show_envvar=False,
    ),
]


def edit(
    facts: Facts,
    model: o.Model = None,
    limit: o.Limit = None,
    edits_per_turn: o.EditsPerTurn = None,
    modules: o.Modules = None,
    eta: o.Eta = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    free_answers: o.FreeAnswers = None,
    control_questions: o.ControlQuestions = None,
    out: o.Out = None,
    append: Append = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    r"""Write a file of facts into a model and keep the result.

    Examples:
      ultraedit edit facts.jsonl --model smollm2 --out edited
      ultraedit edit zsre:zsre_10k.json --model ./my-model --limit 500
      ultraedit edit tomorrow.jsonl --append edited

    A line of facts.jsonl is at least {"prompt": "The capital of X is", "target": "Y"}; see
    `ultraedit data show jsonl` for the rest. The edited model is in the folder model/ of --out.
    All settings are those of `ultraedit run`, which has more.
    """
    given = {
        "model": model,
        "data": facts,
        "limit": limit,
        "edits_per_turn": edits_per_turn,
        "modules": modules,
        "eta": eta,
        "dtype": dtype,
        "device": device,
        "free_answers": free_answers,
        "chat_answers": True,
        "control_questions": control_questions,
    }
    if append is not None:
        taken = {"data", "limit", "edits_per_turn", "free_answers", "control_questions"}
        given.pop("chat_answers")  # That of the run holds.
        others = {key: value for key, value in given.items() if key not in taken}
        refuse_beside("--append", others | {"out": out, "dry_run": dry_run or None})
        changes = {key: given[key] for key in taken if given[key] is not None}
        add_to(append, changes, json=json)
        return
    start(settle(given), out, dry_run=dry_run, json=json)

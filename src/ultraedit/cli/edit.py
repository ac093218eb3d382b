"""``ultraedit edit``: a run with the few settings that most people need."""

from __future__ import annotations

from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli._job import settle, start

Facts = Annotated[
    str, typer.Argument(metavar="FACTS", help="A .jsonl file of facts, or FORMAT:PATH.")
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
    out: o.Out = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    r"""Write a file of facts into a model and keep the result.

    Examples:
      ultraedit edit facts.jsonl --model smollm2 --out edited
      ultraedit edit zsre:zsre_10k.json --model ./my-model --limit 500

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
    }
    start(settle(given), out, dry_run=dry_run, json=json)

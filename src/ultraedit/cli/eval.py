"""``ultraedit eval``: the scores of a model on a file of facts, without editing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._job import refuse_beside
from ultraedit.cli._progress import Named, progress
from ultraedit.errors import ConfigError

if TYPE_CHECKING:
    from ultraedit.evaluate import Evaluation, Reference
    from ultraedit.types import Edit, Observer

Beside = Annotated[
    str | None,
    typer.Option(
        "--beside",
        metavar="MODEL",
        help="The model before its edits: with it, agreement is scored too.",
        rich_help_panel=o.WHAT,
        show_envvar=False,
    ),
]


def evaluate(
    model: o.ModelArgument,
    data: o.Data = None,
    limit: o.Limit = None,
    beside: Beside = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    seed: o.Seed = None,
    free_answers: o.FreeAnswers = None,
    json: o.Json = False,
) -> None:
    r"""Score a model on a file of facts as it stands.

    Examples:
      ultraedit eval smollm2 --data zsre:zsre_10k.json --limit 100
      ultraedit eval demo-run/model --data facts.jsonl --beside smollm2
      ultraedit eval demo-run

    A run folder in the place of a model is scored where it stands, on its own edits.
    """
    from ultraedit.data import read

    if (Path(model) / "journal.sqlite").is_file():
        refuse_beside(
            "A run folder", {"data": data, "limit": limit, "beside": beside, "dtype": dtype}
        )
        _score_run(Path(model), free_answers, json=json)
        return
    if data is None:
        raise ConfigError("--data is missing. Give it a file of facts as FORMAT:PATH.")
    if free_answers is not None and free_answers < 0:
        raise ConfigError(f"--free-answers must be 0 or more, got {free_answers}.")
    edits = read(data, limit=limit, seed=seed or 0)
    reference = None
    with progress() as observer:
        for name in [model] if beside is None else [beside, model]:
            found = _score(
                name, edits, reference, free_answers, dtype or "auto", device or "auto", observer
            )
            reference = found.reference
    if beside is None:
        found = _without_agreement(found)
    result: dict[str, Any] = {
        "model": model,
        "beside": beside,
        "data": data,
        "edits": len(edits),
        "overruled": found.overruled,
        "scores": asdict(found.scores),
    }
    _show(result, ("model", "beside", "data", "edits"), json=json)


def _score_run(folder: Path, free_answers: int | None, *, json: bool) -> None:
    """Score a run where it stands."""
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.scoring import score

        turn, edits, found = score(folder, free_answers, observer)
    result = {
        "folder": str(folder),
        "turn": turn,
        "edits": edits,
        "overruled": found.overruled,
        "scores": asdict(found.scores),
    }
    _show(result, ("folder", "turn", "edits"), json=json)


def _show(result: dict[str, Any], named: Sequence[str], *, json: bool) -> None:
    if json:
        _output.write_json(result)
        return
    _output.scores({"before": {}, "after": result["scores"]}, before=False)
    _output.line()
    _output.pairs({name: result[name] for name in named})


def _score(
    name: str,
    edits: list[Edit],
    reference: Reference | None,
    free_answers: int | None,
    dtype: str,
    device: str,
    observer: Observer,
) -> Evaluation:
    """Load a model and ask it everything; it is let go of before the next one is loaded."""
    from ultraedit.evaluate import evaluate as ask_all
    from ultraedit.host import ModelHost
    from ultraedit.models import load

    observer.stage(f"Loading {name}")
    host = ModelHost(load(name, dtype=dtype, device=device), None)
    return ask_all(
        host,
        edits,
        reference=reference,
        free_answers=free_answers,
        observer=Named(observer, f"Asking {name}"),
    )


def _without_agreement(found: Evaluation) -> Evaluation:
    """Drop the agreement of a model with itself, which says nothing."""
    generation = found.scores.generation
    if generation is not None:
        generation = replace(generation, agreement=None)
    return replace(found, scores=replace(found.scores, agreement=None, generation=generation))

"""``ultraedit eval``: the scores of a model on a file of facts, without editing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._job import refuse_beside
from ultraedit.cli._progress import Named, progress
from ultraedit.core.errors import ConfigError
from ultraedit.core.files import is_run
from ultraedit.core.settings import FACTS
from ultraedit.core.types import to_json

if TYPE_CHECKING:
    from ultraedit.evaluation.outcome import Evaluation
    from ultraedit.host.host import ModelHost

Beside = Annotated[
    str | None,
    typer.Option(
        "--beside",
        metavar="MODEL",
        help="The model before its edits: with it, agreement is scored too.",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]


def evaluate(
    model: o.ModelArgument,
    data: o.Data = None,
    limit: o.Limit = None,
    beside: Beside = None,
    engine: o.Engine = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    seed: o.Seed = None,
    free_answers: o.FreeAnswers = None,
    probe: o.Probes = None,
    json: o.Json = False,
) -> None:
    r"""Score a model on a file of facts as it stands.

    Examples:
      ultraedit eval smollm2 --data zsre:zsre_10k.json --limit 100
      ultraedit eval demo-run/model --data facts.jsonl --beside smollm2
      ultraedit eval edited.gguf --data facts.jsonl --engine llama.cpp

    A run folder in the place of a model is scored where it stands, on its own edits, with its own
    probes unless others are given.
    """
    from ultraedit.data import read
    from ultraedit.evaluation.probes import chosen

    probes = None if probe is None else chosen(probe)
    in_engine = _in_engine(engine, dtype, device)
    if is_run(Path(model)):
        refuse_beside(
            "A run folder",
            {"data": data, "limit": limit, "beside": beside, "dtype": dtype, "engine": engine},
        )
        _score_run(Path(model), free_answers, probes, json=json)
        return
    if data is None:
        raise ConfigError("--data is missing. Give it a file of facts as FORMAT:PATH.")
    if free_answers is not None and free_answers < 0:
        raise ConfigError(f"--free-answers must be 0 or more, got {free_answers}.")
    edits = read(data, limit=limit, seed=seed or 0)
    reference = None
    with progress() as observer:
        from ultraedit.data.streams import InMemory, oddities
        from ultraedit.evaluation.probes import Probing
        from ultraedit.evaluation.scoring import (
            evaluate as ask_all,  # torch, once all else is checked
        )
        from ultraedit.lifelong.checkpoints import asked_controls
        from ultraedit.lifelong.settings import CONTROL_QUESTIONS

        controls = () if beside is None else asked_controls(CONTROL_QUESTIONS)
        for name in [model] if beside is None else [beside, model]:
            observer.stage(f"Loading {name}")
            host = _engine(name) if in_engine else _host(name, dtype or "auto", device or "auto")
            if name == model:
                for sentence in oddities(InMemory(edits), host.language_model.tokenizer):
                    _output.message(sentence)
            probing = Probing(probes or (), host.language_model.tokenizer, edits, seed or 0)
            evaluation = ask_all(
                *(host, edits),
                reference=reference,
                free_answers=free_answers,
                probing=probing,
                controls=controls,
                observer=Named(observer, f"Asking {name}"),
            )
            del host  # before the next one is loaded
            reference = evaluation.reference
    if beside is None:
        evaluation = _without_agreement(evaluation)
    result: dict[str, Any] = {
        "model": model,
        "beside": beside,
        "data": data,
        "engine": engine or "transformers",
        "edits": len(edits),
        "overruled": evaluation.overruled,
        "scores": to_json(evaluation.scores),
        "controls": None if evaluation.controls is None else to_json(evaluation.controls),
        "remarks": probing.remarks,
    }
    _show(result, ("model", "beside", "data", "engine", "edits"), json=json)


def _score_run(
    folder: Path, free_answers: int | None, probes: tuple[str, ...] | None, *, json: bool
) -> None:
    """Score a run where it stands."""
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.runs.scores import score

        scored = score(folder, free_answers, observer, probes)
    result = {
        "folder": str(folder),
        "turn": scored.turn,
        "edits": scored.edits,
        "overruled": scored.evaluation.overruled,
        "scores": to_json(scored.evaluation.scores),
        "controls": None
        if scored.evaluation.controls is None
        else to_json(scored.evaluation.controls),
        "remarks": scored.remarks,
    }
    _show(result, ("folder", "turn", "edits"), json=json)


def _show(result: dict[str, Any], named: Sequence[str], *, json: bool) -> None:
    if json:
        _output.write_json(result)
        return
    shown = {"before": {}, "after": result["scores"], "controls": {"after": result["controls"]}}
    _output.scores(shown, before=False)
    _output.line()
    _output.pairs({name: result[name] for name in named} | result["remarks"])


def _host(name: str, dtype: str, device: str) -> ModelHost:
    """Load a model that is asked and not edited."""
    from ultraedit.host.host import ModelHost
    from ultraedit.models import load

    return ModelHost(load(name, dtype=dtype, device=device), None)


def _in_engine(engine: str | None, dtype: str | None, device: str | None) -> bool:
    if engine is None:
        return False
    from ultraedit.models.llama_cpp import check_engine

    return check_engine(engine, dtype=dtype, device=device)


def _engine(name: str) -> ModelHost:
    """Load a GGUF file in llama.cpp."""
    from ultraedit.export.scores import engine_host
    from ultraedit.models.llama_cpp import gguf_path

    return engine_host(gguf_path(name))


def _without_agreement(evaluation: Evaluation) -> Evaluation:
    """Drop the agreement of a model with itself, which says nothing."""
    generation = evaluation.scores.generation
    if generation is not None:
        generation = replace(generation, metrics=_alone(generation.metrics))
    scores = replace(
        evaluation.scores, metrics=_alone(evaluation.scores.metrics), generation=generation
    )
    return replace(evaluation, scores=scores, controls=None)


def _alone(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Values without those of metrics that compare with the unedited model."""
    from ultraedit.evaluation.metrics import ALONE

    return {name: value if name in ALONE else None for name, value in metrics.items()}

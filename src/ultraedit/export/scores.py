"""The scores of a run in transformers, and of its file in the engine that will run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ultraedit.core.types import Observer, Scores
from ultraedit.evaluation.outcome import Evaluation, Reference
from ultraedit.evaluation.scoring import evaluate
from ultraedit.export.registry import Table
from ultraedit.host.host import ModelHost
from ultraedit.models.llama_cpp import LlamaCpp
from ultraedit.report.formats import format_change, format_percent
from ultraedit.report.scores import METRICS
from ultraedit.runs.config import RunConfig
from ultraedit.runs.scores import standing

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel
    from ultraedit.models.delta import Delta
    from ultraedit.runs.store import Journal

TRANSFORMERS, LLAMA_CPP = "transformers", "llama.cpp"


def engine_host(path: Path) -> ModelHost:
    """A GGUF file in llama.cpp, as an evaluation takes a model.

    `evaluate` asks it to encode, to predict and to answer, and nothing else where no perplexity is
    measured.
    """
    return cast(ModelHost, LlamaCpp(path))


def both_sides(
    journal: Journal,
    model: LanguageModel,
    delta: Delta,
    base: Path,
    edited: Path,
    observer: Observer,
) -> dict[str, Scores]:
    """Score the edits of a run in transformers and in llama.cpp.

    Each engine is its own reference for agreement: the two differ a little in everything, since
    llama.cpp computes with activations of 8 bits where weights are quantized.

    Args:
        journal: The run.
        model: Its base model, unedited. Afterwards it is edited.
        delta: Its change.
        base: The GGUF file of the unedited model.
        edited: That of the edited one.
        observer: Told of every question.
    """
    panel = standing(journal)
    free = RunConfig.of_job(journal.job()).free_answers

    def ask(host: ModelHost, reference: Reference | None) -> Evaluation:
        return evaluate(
            host,
            panel.edits,
            reference=reference,
            newest=panel.newest,
            free_answers=free,
            observer=observer,
        )

    host = ModelHost(model, list(delta.changes))
    reference = ask(host, None).reference
    host.weights.restore(delta.changes)
    ours = ask(host, reference).scores
    return {TRANSFORMERS: ours, LLAMA_CPP: _in_engine(ask, base, edited)}


def _in_engine(
    ask: Callable[[ModelHost, Reference | None], Evaluation], base: Path, edited: Path
) -> Scores:
    """One model at a time is in the engine."""
    reference = ask(engine_host(base), None).reference
    return ask(engine_host(edited), reference).scores


def as_table(sides: Mapping[str, Scores]) -> Table:
    """The scores of both engines, side by side."""
    ours, theirs = (sides[name] for name in (TRANSFORMERS, LLAMA_CPP))
    rows: list[Sequence[str]] = []
    for name in METRICS:
        rows.append(_row(f"{name}, forced", ours[name], theirs[name]))
        if ours.generation is not None and theirs.generation is not None:
            pair = (ours.generation[name], theirs.generation[name])
            rows.append(_row(f"{name}, free", *pair))
    rows = [row for row in rows if row]
    columns = ["metric", TRANSFORMERS, LLAMA_CPP, "change"]
    return Table(columns, rows, columns[1:])


def _row(name: str, ours: float | None, theirs: float | None) -> Sequence[str]:
    if ours is None:
        return ()
    return (name, format_percent(ours), format_percent(theirs), format_change(ours, theirs))

"""Carry the edits of a run away: as a whole model, as its change alone, or as a PEFT adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ultraedit.evaluate import evaluate
from ultraedit.host import ModelHost
from ultraedit.models import LanguageModel, save
from ultraedit.store.card import Provenance, adapter_card, model_card
from ultraedit.store.delta import Delta, apply_delta, check_base, save_delta
from ultraedit.store.lora import KEPT, Compressed, Rank, compress, merged, save_lora
from ultraedit.store.tensors import refuse_taken
from ultraedit.types import Edit, Nobody, Observer, Scores

if TYPE_CHECKING:
    from ultraedit.store import Run


@dataclass(frozen=True)
class Adapter:
    """An exported adapter: what it keeps, and what it costs."""

    modules: Mapping[str, Compressed]

    exact: Scores | None = None
    """Scores of the edited model over the edits of the run; None where it was not asked."""

    adapted: Scores | None = None
    """Scores of the base model with the adapter merged."""


def delta_of(run: Run) -> Delta:
    """The change of a run at its head."""
    return Delta(
        changes=run.head().changes,
        base=run.config.model,
        fingerprint=run.fingerprint,
        dtype=run.resolved["dtype"],
        editor=run.config.editor,
        edits=len(run.edits()),
        turns=run.turn,
        source=str(run.path),
    )


def export_delta(run: Run, out: Path) -> None:
    """Write the change of a run as one safetensors file.

    Raises:
        UltraEditError: If the run cannot be read, or the file not be written.
    """
    save_delta(delta_of(run), out)


def export_model(run: Run, out: Path, observer: Observer | None = None) -> None:
    """Write the edited model of a run with a card, as any program of the ecosystem loads it.

    Raises:
        UltraEditError: If the run or its base model cannot be read, or the folder not be written.
    """
    observer = observer or Nobody()
    refuse_taken(out)
    delta = delta_of(run)
    observer.stage("Loading the base model")
    model = run.load_base()
    apply_delta(model, [delta])
    observer.stage("Saving the edited model")
    save(model, out, card=model_card(_provenance(run, delta)))


def export_lora(
    run: Run,
    out: Path,
    *,
    rank: Rank = "auto",
    kept: float = KEPT,
    score: bool = True,
    observer: Observer | None = None,
) -> Adapter:
    """Write the change of a run as a PEFT adapter.

    Args:
        run: The run.
        out: Folder of the adapter; new or empty.
        rank: One for all modules, or ``auto``.
        kept: Share of the energy that ``auto`` keeps in every module.
        score: Whether to score the run's edits with the exact change and with the adapter's.
        observer: Told how far the job is.

    Raises:
        UltraEditError: If the run or its base model cannot be read, or the folder not be written.
    """
    observer = observer or Nobody()
    refuse_taken(out)
    delta = delta_of(run)
    observer.stage("Decomposing the changes")
    modules = compress(delta.changes, rank, kept)
    observer.stage("Loading the base model")
    model = run.load_base()
    check_base(model, delta)
    first = model.model.get_submodule(next(iter(modules)))
    adapter = _scored(model, delta, modules, run.edits(), observer) if score else Adapter(modules)
    scores = [asdict(each) if each else None for each in (adapter.exact, adapter.adapted)]
    save_lora(
        out,
        modules,
        base=delta.base,
        transposed=not isinstance(first, nn.Linear),
        card=adapter_card(_provenance(run, delta), modules, *scores),
    )
    return adapter


def _scored(
    model: LanguageModel,
    delta: Delta,
    modules: Mapping[str, Compressed],
    edits: list[Edit],
    observer: Observer,
) -> Adapter:
    """Ask the unedited model, the exactly edited one, and the one with the adapter merged."""
    host = ModelHost(model, list(modules))
    reference = evaluate(host, edits, free_answers=0, observer=observer).reference
    found = []
    for changes in (delta.changes, merged(modules)):
        host.weights.restore(changes)
        again = evaluate(host, edits, reference=reference, free_answers=0, observer=observer)
        found.append(again.scores)
    return Adapter(modules, *found)


def _provenance(run: Run, delta: Delta) -> Provenance:
    scores: dict[str, Any] = run.scores or {}
    return Provenance(
        delta=delta,
        settings=run.config.model_dump(mode="json"),
        options=run.resolved.get("options", {}),
        before=scores.get("before"),
        after=scores.get("after"),
    )

"""Carry the edits of a run away: as a model, as its change alone, or as a PEFT adapter."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ultraedit.data import parse_spec
from ultraedit.editors import find_editor
from ultraedit.errors import ConfigError
from ultraedit.evaluate import Evaluation, Reference, evaluate
from ultraedit.files import refuse_existing
from ultraedit.host import ModelHost
from ultraedit.models import LanguageModel, save
from ultraedit.runs.opening import load_base, open_host
from ultraedit.runs.replay import restore
from ultraedit.runs.scoring import standing
from ultraedit.settings import resolved_again
from ultraedit.store import JOURNAL, Journal, read_snapshot
from ultraedit.store.card import Provenance, adapter_card, model_card
from ultraedit.store.delta import Delta, apply_delta, save_delta
from ultraedit.store.lora import KEPT, Compressed, Rank, compress, merged, save_lora
from ultraedit.stream import Panel, whole
from ultraedit.types import Nobody, Observer, Scores, ViewingEditor

_BESIDE = {
    "memories": "its edits are in memories beside the weights, and a router chooses between them "
    "for each question",
    "facts": "its edits are facts that are put in front of each question, and not in the weights",
}
"""What edits are that are not in the weights."""

_LOADS = {"memories": "load_wise", "facts": "load"}
"""What loads such a model."""


@dataclass(frozen=True)
class Adapter:
    """An exported adapter: what it keeps, and what it costs."""

    modules: Mapping[str, Compressed]

    exact: Scores | None = None
    """Scores of the edited model over the edits of the run; None where it was not asked."""

    adapted: Scores | None = None
    """Scores of the base model with the adapter merged."""


def read_delta(path: Path, observer: Observer | None = None) -> Delta:
    """Read the change of a run where it stands.

    Args:
        path: The run folder.
        observer: Told of the turns that are computed again, if no snapshot is of the last one.

    Raises:
        UltraEditError: If the folder holds no run, or none of its turns stands.
    """
    with closing(Journal.open(path / JOURNAL)) as journal:
        return _delta(journal, observer or Nobody())


def edited_model(path: Path, observer: Observer | None = None) -> LanguageModel:
    """Load the base model of a run and put its change on it.

    Raises:
        UltraEditError: If the run or its base model cannot be read.
    """
    observer = observer or Nobody()
    with closing(Journal.open(path / JOURNAL)) as journal:
        return _edited_model(journal, _delta(journal, observer), observer)


def export_delta(path: Path, out: Path, observer: Observer | None = None) -> Delta:
    """Write the change of a run as one safetensors file.

    Raises:
        UltraEditError: If the run cannot be read, or the file not be written.
    """
    refuse_existing(out, empty_folder=False)
    delta = read_delta(path, observer)
    save_delta(delta, out)
    return delta


def export_model(path: Path, out: Path, observer: Observer | None = None) -> Delta:
    """Write the edited model of a run with a card, as any program of the ecosystem loads it.

    Raises:
        UltraEditError: If the run or its base model cannot be read, or the folder not be written.
    """
    observer = observer or Nobody()
    refuse_existing(out)
    with closing(Journal.open(path / JOURNAL)) as journal:
        delta = _delta(journal, observer)
        model = _edited_model(journal, delta, observer)
        observer.stage("Saving the edited model")
        save(model, out, card=model_card(_provenance(journal, delta)))
    return delta


def export_beside(
    path: Path, out: Path, editor: str = "wise", observer: Observer | None = None
) -> Delta:
    """Write the model of a run whose edits are beside its weights: these, unedited, and the edits.

    Args:
        path: The run folder.
        out: Folder of the model; new or empty.
        editor: The editor that it must be of, ``wise`` or ``in-context``.
        observer: Told how far the job is.

    Returns:
        What was exported, without a change.

    Raises:
        UltraEditError: If the run is of another editor or cannot be read, or the folder not be
            written.
    """
    observer = observer or Nobody()
    refuse_existing(out)
    with closing(Journal.open(path / JOURNAL)) as journal:
        about = _about(journal, {})
        if about.editor != editor:
            form = about.editor if find_editor(about.editor).beside else "model"
            raise ConfigError(
                f"{path} was edited by {about.editor}, which has no {find_editor(editor).beside}. "
                f"`ultraedit export {path} --as {form}` exports it."
            )
        host, settings = open_host(journal, observer)
        progress = restore(host, settings.editor, journal, observer=observer)
        observer.stage("Saving the edited model")
        with host.viewed(settings.editor, progress.state):
            save(host.language_model, out)
    return about


def export_lora(
    path: Path,
    out: Path,
    *,
    rank: Rank = "auto",
    kept: float = KEPT,
    score: bool = True,
    observer: Observer | None = None,
) -> tuple[Delta, Adapter]:
    """Write the change of a run as a PEFT adapter.

    Args:
        path: The run folder.
        out: Folder of the adapter; new or empty.
        rank: One for all modules, or ``auto``.
        kept: Share of the energy that ``auto`` keeps in every module.
        score: Whether to score the run's edits with the exact change and with the adapter's.
        observer: Told how far the job is.

    Raises:
        UltraEditError: If the run or its base model cannot be read, or the folder not be written.
    """
    observer = observer or Nobody()
    refuse_existing(out)
    with closing(Journal.open(path / JOURNAL)) as journal:
        delta = _delta(journal, observer)
        observer.stage("Decomposing the changes")
        modules = compress(delta.changes, rank, kept)
        model = _load_base(journal, observer)
        panel = standing(journal) if score else whole(())
        scorable = bool(panel.edits)
        adapter = _scored(model, delta, modules, panel, observer) if scorable else Adapter(modules)
        scores = [
            None if each is None else asdict(each) for each in (adapter.exact, adapter.adapted)
        ]
        first = model.model.get_submodule(next(iter(modules)))
        save_lora(
            out,
            modules,
            base=delta.base,
            transposed=not isinstance(first, nn.Linear),
            card=adapter_card(_provenance(journal, delta), modules, *scores),
        )
    return delta, adapter


def _delta(journal: Journal, observer: Observer) -> Delta:
    folder, editor = journal.path.parent, journal.value("settings")["editor"]
    kind = find_editor(editor).beside
    if kind is not None:
        raise ConfigError(
            f"{folder} was edited by {editor}: {_BESIDE[kind]}, so they are no model of plain "
            f"weights, no delta and no adapter. `ultraedit export {folder} --as {editor}` writes "
            f"the folder that `ultraedit ask` and `ultraedit.{_LOADS[kind]}` read."
        )
    return _about(journal, _changes(journal, observer) if journal.head() else {})


def _about(journal: Journal, changes: Mapping[str, Tensor]) -> Delta:
    """A change, and what it was made on.

    Raises:
        ConfigError: If no turn stands.
    """
    folder, turns = journal.path.parent, journal.head()
    if not turns:
        raise ConfigError(f"No turn stands in {folder}, so there is nothing to carry away.")
    settings = journal.value("settings")
    return Delta(
        changes=changes,
        base=settings["model"],
        fingerprint=journal.value("fingerprint"),
        dtype=journal.value("resolved")["dtype"],
        editor=settings["editor"],
        edits=journal.holding(),
        turns=turns,
        source=str(folder),
    )


def _changes(journal: Journal, observer: Observer) -> Mapping[str, Tensor]:
    """The change after the last turn, as it is asked about: its snapshot, or computed again."""
    head, editor = journal.head(), resolved_again(journal).editor
    saved = journal.snapshot_before(head)
    if saved is not None and saved.turn == head and not isinstance(editor, ViewingEditor):
        return read_snapshot(journal.path.parent / saved.path).changes
    host, settings = open_host(journal, observer)
    progress = restore(host, settings.editor, journal, observer=observer)
    with host.viewed(settings.editor, progress.state):
        return host.weights.snapshot()


def _load_base(journal: Journal, observer: Observer) -> LanguageModel:
    observer.stage("Loading the base model")
    return load_base(journal, resolved_again(journal))


def _edited_model(journal: Journal, delta: Delta, observer: Observer) -> LanguageModel:
    model = _load_base(journal, observer)
    apply_delta(model, [delta])
    return model


def _scored(
    model: LanguageModel,
    delta: Delta,
    modules: Mapping[str, Compressed],
    panel: Panel,
    observer: Observer,
) -> Adapter:
    """Ask the unedited model, the exactly edited one, and the one with the adapter merged."""
    host = ModelHost(model, list(modules))

    def ask(reference: Reference | None) -> Evaluation:
        return evaluate(
            host,
            panel.edits,
            reference=reference,
            newest=panel.newest,
            free_answers=0,
            observer=observer,
        )

    reference = ask(None).reference
    found = []
    for changes in (delta.changes, merged(modules)):
        host.weights.restore(changes)
        found.append(ask(reference).scores)
    return Adapter(modules, *found)


def _provenance(journal: Journal, delta: Delta) -> Provenance:
    jobs = journal.jobs()
    entries, checks = journal.turns(), journal.checkpoints()
    after = next((c for c in reversed(checks) if c.record["turn"] == journal.head()), None)
    # A revert scores all that remains, against a model that it asked without taking a record.
    is_revert = entries[-1].kind == "revert"
    before = (
        None
        if after is None or is_revert
        else next((c for c in checks if c.record["turn"] == 0 and c.job == after.job), None)
    )
    return Provenance(
        delta=delta,
        settings=journal.value("settings"),
        appended=tuple(_relocated(job.settings) for job in jobs[1:]),
        taken_out=any(entry.kind == "revert" for entry in entries),
        options=journal.value("resolved")["options"],
        scored=0 if after is None else after.record["edits"],
        before=None if before is None else before.record["scores"],
        after=None if after is None else after.record["scores"],
    )


def _relocated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a later job without the folder that its facts were in."""
    spec = parse_spec(settings["data"])
    return {**settings, "data": str(spec._replace(path=Path(spec.path.name)))}

"""What a run exports: its change, its base model, and where both come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import NullObserver, Observer, ViewingEditor
from ultraedit.data import parse_spec
from ultraedit.editors import find_editor
from ultraedit.export.model_card import Provenance
from ultraedit.models import LanguageModel
from ultraedit.models.delta import Delta, apply_delta
from ultraedit.report.scores import METRICS
from ultraedit.runs.base_model import load_base, open_host
from ultraedit.runs.replay import problem_of, restore
from ultraedit.runs.resolution import resolved_again
from ultraedit.runs.store import JOURNAL, Journal, read_snapshot

_BESIDE = {
    "memories": "its edits are in memories beside the weights, and a router chooses between them "
    "for each question",
    "facts": "its edits are facts that are put in front of each question, and not in the weights",
}
"""What edits are that are not in the weights."""

_LOADS = {"memories": "load_wise", "facts": "load"}
"""What loads such a model."""


def read_delta(path: Path, observer: Observer | None = None) -> Delta:
    """Read the change of a run where it stands.

    Args:
        path: The run folder.
        observer: Told of the turns that are computed again, if no snapshot is of the last one.

    Raises:
        UltraEditError: If the folder holds no run, or none of its turns stands.
    """
    with closing(Journal.open(path / JOURNAL)) as journal:
        return delta_of(journal, observer or NullObserver())


def edited_model(path: Path, observer: Observer | None = None) -> LanguageModel:
    """Load the base model of a run and put its change on it.

    Raises:
        UltraEditError: If the run or its base model cannot be read.
    """
    observer = observer or NullObserver()
    with closing(Journal.open(path / JOURNAL)) as journal:
        return edited_model_of(journal, delta_of(journal, observer), observer)


def delta_of(journal: Journal, observer: Observer) -> Delta:
    """The change of an open run.

    Raises:
        ConfigError: If none of its turns stands, or its edits are beside the weights.
    """
    folder, editor = journal.path.parent, journal.value("settings")["editor"]
    row = find_editor(editor)
    if row.has_overlay and row.beside is not None:
        raise ConfigError(
            f"{folder} was edited by {editor}: {_BESIDE[row.beside]}, so they are no model of "
            f"plain weights, no delta and no adapter. `ultraedit export {folder} --as {editor}` "
            f"writes the folder that `ultraedit ask` and `ultraedit.{_LOADS[row.beside]}` read."
        )
    return about(journal, _changes(journal, observer) if journal.head() else {})


def about(journal: Journal, changes: Mapping[str, Tensor]) -> Delta:
    """A change, and what it was made on.

    Raises:
        ConfigError: If no turn is active.
    """
    folder, turns = journal.path.parent, journal.head()
    if not turns:
        raise ConfigError(f"No turn is active in {folder}, so there is nothing to export.")
    settings = journal.value("settings")
    return Delta(
        changes=changes,
        base=settings["model"],
        fingerprint=journal.value("fingerprint"),
        dtype=journal.value("resolved")["dtype"],
        editor=settings["editor"],
        edits=journal.holding(),
        turns=turns,
        facts=_facts_hash(journal),
        scores=_scores_text(journal),
        source=str(folder),
    )


def _facts_hash(journal: Journal) -> str:
    """SHA-256 of the facts that hold: their prompts and targets, in order, as lines of JSON."""
    digest = hashlib.sha256()
    for each in journal.standing():
        line = json.dumps([each.edit.prompt, each.edit.target], ensure_ascii=False)
        digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return f"sha256:{digest.hexdigest()}"


def _scores_text(journal: Journal) -> str:
    """Teacher-forced scores of the last turn as JSON; empty where it was not scored."""
    checks, head = journal.checkpoints(), journal.head()
    last = next((c for c in reversed(checks) if c.record["turn"] == head), None)
    if last is None:
        return ""
    return json.dumps({name: last.record["scores"].get(name) for name in METRICS})


def _changes(journal: Journal, observer: Observer) -> Mapping[str, Tensor]:
    """The change after the last turn, as it is asked about: its snapshot, or computed again."""
    head, editor = journal.head(), resolved_again(journal).editor
    saved = journal.snapshot_of(head)
    if saved is not None and journal.digest(head) and not isinstance(editor, ViewingEditor):
        carried = read_snapshot(journal.path.parent / saved.path)
        if problem_of(journal, saved, carried) is None:
            return carried.changes
    host, settings = open_host(journal, observer)
    progress = restore(host, settings.editor, journal, observer=observer)
    with host.viewed(settings.editor, progress.state):
        return host.weights.snapshot()


def base_of(journal: Journal, observer: Observer) -> LanguageModel:
    """Load the unedited model of an open run, and check that it still is that model."""
    observer.stage("Loading the base model")
    return load_base(journal, resolved_again(journal))


def edited_model_of(journal: Journal, delta: Delta, observer: Observer) -> LanguageModel:
    """Load the unedited model of an open run, and put a change on it."""
    model = base_of(journal, observer)
    apply_delta(model, [delta])
    return model


def provenance_of(journal: Journal, delta: Delta) -> Provenance:
    """What the card of an open run tells beside its change."""
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

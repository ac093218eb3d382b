"""Take whole turns back: a run stands where an earlier turn left it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Carried, NullObserver, Observer
from ultraedit.lifelong.loop import norms
from ultraedit.runs.base_model import open_host
from ultraedit.runs.replay import restore
from ultraedit.runs.store import RunFolder


class Rolled(NamedTuple):
    """Where a rollback ended."""

    turn: int
    edits: int
    """Active edits now."""
    undone: int
    """Turns that no longer stand."""
    norms: dict[str, float]
    model: Path | None
    """The model folder, written anew; None if the run keeps none."""


def rollback(path: Path, turn: int, observer: Observer | None = None) -> Rolled:
    """Bring a run back to an earlier turn: weights, statistics and the saved model, exactly.

    The turns after it stay in the journal, marked, until `prune`. The summary and the report, which
    told of the later state, are taken away. At the turn where the run stands this writes the
    saved model anew and ends a job that was interrupted.

    Args:
        path: The run folder.
        turn: The turn; 0 is the unedited model.
        observer: Receives progress updates.

    Raises:
        UltraEditError: If there is no such turn, or the folder or the model cannot be used.
    """
    observer = observer or NullObserver()
    folder = RunFolder.open(path)
    try:
        journal = folder.journal
        head = journal.head()
        if not 0 <= turn <= head:
            raise ConfigError(
                f"There is no turn {turn} in {path}: it stands at turn {head}. "
                f"`ultraedit history {path}` lists its turns; 0 is the unedited model."
            )
        host, settings = open_host(journal, observer, turn=turn)
        progress = restore(host, settings.editor, journal, turn, observer)
        folder.rollback(turn, Carried(host.weights.changes, progress.state))
        folder.drop_results()
        saved = path / "model"
        if saved.is_dir():
            observer.stage("Saving the model")
            with host.viewed(settings.editor, progress.state):
                models.save(host.language_model, saved)
        folder.seal()
        return Rolled(
            turn, progress.edits, head - turn, norms(host), saved if saved.is_dir() else None
        )
    finally:
        folder.close()


def prune(path: Path) -> int:
    """Forget the turns that were rolled back. Returns how many there were.

    Raises:
        UltraEditError: If the folder holds no run or is in use.
    """
    folder = RunFolder.open(path)
    try:
        return folder.journal.prune()
    finally:
        folder.close()

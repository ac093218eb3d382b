"""General ability of the model of a run, measured where the run stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultraedit.core.types import NullObserver, Observer
from ultraedit.evaluation.ability import Settings, as_plain, measure, require_tasks
from ultraedit.runs.base_model import open_host
from ultraedit.runs.replay import restore
from ultraedit.runs.store import JOURNAL, Journal


def of_run(path: Path, settings: Settings, observer: Observer | None = None) -> dict[str, Any]:
    """Measure the edited model of a run where it stands.

    Returns:
        An object for a JSON file: ``tasks`` and what they are of, with the turn.

    Raises:
        UltraEditError: If the folder holds no run, or as `measure`.
    """
    require_tasks(settings.tasks)
    observer = observer or NullObserver()
    journal = Journal.open(path / JOURNAL)
    try:
        host, resolved = open_host(journal, observer)
        progress = restore(host, resolved.editor, journal, observer=observer)
        with host.viewed(resolved.editor, progress.state):
            scores = measure(host.language_model, settings, observer, host.weights.unedited)
        return as_plain(scores, settings, model=path.name, turn=progress.turns)
    finally:
        journal.close()

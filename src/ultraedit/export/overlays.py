"""``export --as wise`` and ``in-context``: the unedited model, and what is beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import refuse_existing
from ultraedit.core.types import NullObserver, Observer
from ultraedit.editors import find_editor
from ultraedit.export.change import about
from ultraedit.export.registry import Exported
from ultraedit.models import save
from ultraedit.models.delta import Delta
from ultraedit.runs.base_model import open_host
from ultraedit.runs.replay import restore
from ultraedit.runs.store import JOURNAL, Journal


def export(run: Path, out: Path, options: Mapping[str, Any], observer: Observer) -> Exported:
    """As the command line asks for it; the option ``form`` is the editor's name."""
    return Exported(export_beside(run, out, options["form"], observer))


def export_beside(
    path: Path, out: Path, editor: str = "wise", observer: Observer | None = None
) -> Delta:
    """Write the model of a run whose edits are beside its weights: these, unedited, and the edits.

    Args:
        path: The run folder.
        out: Folder of the model; new or empty.
        editor: The editor that it must be of, ``wise`` or ``in-context``.
        observer: Receives progress updates.

    Returns:
        What was exported, without a change.

    Raises:
        UltraEditError: If the run is of another editor or cannot be read, or the folder not be
            written.
    """
    observer = observer or NullObserver()
    refuse_existing(out)
    with closing(Journal.open(path / JOURNAL)) as journal:
        delta = about(journal, {})
        if delta.editor != editor:
            form = delta.editor if find_editor(delta.editor).has_overlay else "model"
            raise ConfigError(
                f"{path} was edited by {delta.editor}, which has no {find_editor(editor).beside}. "
                f"`ultraedit export {path} --as {form}` exports it."
            )
        host, settings = open_host(journal, observer)
        progress = restore(host, settings.editor, journal, observer=observer)
        observer.stage("Saving the edited model")
        with host.viewed(settings.editor, progress.state):
            save(host.language_model, out)
    return delta

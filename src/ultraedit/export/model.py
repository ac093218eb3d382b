"""``export --as model``: a whole model folder with a card."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ultraedit.core.files import refuse_existing
from ultraedit.core.types import NullObserver, Observer
from ultraedit.export.change import delta_of, edited_model_of, provenance_of
from ultraedit.export.model_card import model_card
from ultraedit.export.registry import Exported
from ultraedit.models import save
from ultraedit.models.delta import Delta
from ultraedit.runs.store import JOURNAL, Journal


def export(run: Path, out: Path, options: Mapping[str, Any], observer: Observer) -> Exported:
    """As the command line asks for it."""
    return Exported(export_model(run, out, observer))


def export_model(path: Path, out: Path, observer: Observer | None = None) -> Delta:
    """Write the edited model of a run with a card, as any program of the ecosystem loads it.

    Raises:
        UltraEditError: If the run or its base model cannot be read, or the folder not be written.
    """
    observer = observer or NullObserver()
    refuse_existing(out)
    with closing(Journal.open(path / JOURNAL)) as journal:
        delta = delta_of(journal, observer)
        model = edited_model_of(journal, delta, observer)
        observer.stage("Saving the edited model")
        save(model, out, card=model_card(provenance_of(journal, delta)))
    return delta

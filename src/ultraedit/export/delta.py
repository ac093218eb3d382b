"""``export --as delta``: the change of the weights alone, as one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultraedit.core.files import refuse_existing
from ultraedit.core.types import Observer
from ultraedit.export.change import read_delta
from ultraedit.export.registry import Exported
from ultraedit.models.delta import Delta, save_delta


def export(run: Path, out: Path, options: Mapping[str, Any], observer: Observer) -> Exported:
    """As the command line asks for it."""
    return Exported(export_delta(run, out, observer))


def export_delta(path: Path, out: Path, observer: Observer | None = None) -> Delta:
    """Write the change of a run as one safetensors file.

    Raises:
        UltraEditError: If the run cannot be read, or the file not be written.
    """
    refuse_existing(out, empty_folder=False)
    delta = read_delta(path, observer)
    save_delta(delta, out)
    return delta

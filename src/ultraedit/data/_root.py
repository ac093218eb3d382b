"""The folder of data that tests, tasks and reproductions share."""

from __future__ import annotations

import os
from pathlib import Path

from ultraedit.core.errors import DataError


def find_root(given: Path | None) -> Path | None:
    """The data folder: the one given, ``$ULTRAEDIT_DATA``, or ``../shared/data`` if it is there.

    Raises:
        DataError: If the one given is no folder.
    """
    if given is None:
        named = os.environ.get("ULTRAEDIT_DATA")
        near = Path("..", "shared", "data")
        given = Path(named) if named else near if near.is_dir() else None
    if given is not None and not given.is_dir():
        raise DataError(f"There is no data folder {given}. Name one with --data-root.")
    return given

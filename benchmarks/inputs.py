"""Where the benchmarks find the facts that they are measured on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def data_folder() -> Path:
    """``$ULTRAEDIT_DATA``, else ``../shared/data``."""
    return Path(os.environ.get("ULTRAEDIT_DATA", str(ROOT.parent / "shared" / "data")))


def facts_file(given: str | None, kind: str, name: str) -> Path:
    """Find a file of facts, or end the program with a sentence.

    Args:
        given: What ``--data`` says: a file, or a folder of data; None for `data_folder`.
        kind: Name of the data set as people write it; its folder is in lower case.
        name: The file in that folder.
    """
    place = Path(given) if given else data_folder()
    file = place / kind.lower() / name if place.is_dir() else place
    if not file.is_file():
        sys.exit(f"No {kind} file at {file}. Give it with --data, or set ULTRAEDIT_DATA.")
    return file


def zsre(given: str | None) -> Path:
    """The ZsRE file, as `facts_file` finds it."""
    return facts_file(given, "ZsRE", "zsre_10k.json")

"""Where this package keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Folder of converted models: ``$ULTRAEDIT_CACHE``, else the user's cache folder."""
    folder = os.environ.get("ULTRAEDIT_CACHE") or platformdirs.user_cache_dir("ultraedit")
    return Path(folder).expanduser()

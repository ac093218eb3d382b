"""One process at a time may write to a run folder."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import explained, write_text

LOCK, HOLDER = ".lock", ".holder.json"
"""The file that is locked, and the one that says by whom."""


class FolderLock:
    """A lock that the system lets go of when its process ends, in whatever way it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock, or find out who has it.

        Args:
            folder: The run folder, which exists.

        Raises:
            ConfigError: If another process has it.
            StorageError: If the folder cannot be written to.
        """
        self._folder = folder
        self._lock = FileLock(folder / LOCK)
        with explained(folder):
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise ConfigError(
                    f"{folder} is in use by {_holder(folder)}. Wait until that ends, or stop it."
                ) from None
        try:
            write_text(folder / HOLDER, json.dumps(_ourselves()) + "\n")
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Let others have the folder."""
        (self._folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()


def _ourselves() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _holder(folder: Path) -> str:
    """Describe the process that holds a folder."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        where = "" if holder["host"] == platform.node() else f" on {holder['host']}"
        return f"process {holder['pid']}{where} (`{holder['command']}`, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # It is just beginning, or just ending.
        return "another process"

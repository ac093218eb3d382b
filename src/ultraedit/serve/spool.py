"""What the newest turns carried on, at hand for as long as the server runs.

A run folder keeps few snapshots; every other turn is computed again from the one before it. A
server goes back often and not far, so the newest turns lie in a folder for temporary files too. It
is a cache: nothing is lost with it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ultraedit.core.types import Carried
from ultraedit.runs.store import read_snapshot
from ultraedit.runs.store.snapshots import write_snapshot

SPOOL_BYTES = 2 << 30
"""Most that is kept, in bytes."""


class Spool:
    """Snapshots by the digest of what they hold, the oldest given up for the newest."""

    def __init__(self, most: int = SPOOL_BYTES) -> None:
        """Begin with none.

        Args:
            most: Most bytes that are kept.
        """
        self._most = most
        self._folder = tempfile.TemporaryDirectory(prefix="ultraedit-serve-")
        self._sizes: dict[str, int] = {}

    def put(self, digest: str, carried: Carried) -> None:
        """Keep what a turn carries on."""
        if digest in self._sizes:
            self._sizes[digest] = self._sizes.pop(digest)  # the newest again
            return
        path = self._path(digest)
        write_snapshot(path, carried)
        self._sizes[digest] = path.stat().st_size
        while sum(self._sizes.values()) > self._most and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            self._path(oldest).unlink()

    def get(self, digest: str | None) -> Carried | None:
        """What a turn carried on; None if it is not kept any more."""
        if digest is None or digest not in self._sizes:
            return None
        return read_snapshot(self._path(digest))

    def close(self) -> None:
        """Give all of it up."""
        self._folder.cleanup()

    def _path(self, digest: str) -> Path:
        return Path(self._folder.name) / f"{digest}.safetensors"

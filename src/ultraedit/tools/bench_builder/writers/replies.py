"""Replies of a paid service, on disk from the moment that they come in."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import StorageError


class Reply(NamedTuple):
    """What a model wrote, and what it counted."""

    text: str

    input_tokens: int

    output_tokens: int


class Replies:
    """A table from the digest of a request to its reply.

    Each reply is a transaction of its own: after a kill, all that had come in are there and the
    file is whole. Any thread may use it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, which is made if it is not there.

        Raises:
            StorageError: If it is no such file, or cannot be made.
        """
        self._path = path
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies (request TEXT PRIMARY KEY, text TEXT NOT NULL, "
                "input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL) WITHOUT ROWID"
            )

    def get(self, request: str) -> Reply | None:
        """The reply to a request, by its digest."""
        query = "SELECT text, input_tokens, output_tokens FROM replies WHERE request = ?"
        with self._explained(), self._lock:
            row = self._db.execute(query, (request,)).fetchone()
        return Reply(*row) if row else None

    def put(self, request: str, reply: Reply) -> None:
        """Store a reply; when this returns, it is on the disk."""
        with self._explained(), self._lock:
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?)", (request, *reply))

    def __len__(self) -> int:
        """How many replies there are."""
        with self._explained(), self._lock:
            (count,) = self._db.execute("SELECT count(*) FROM replies").fetchone()
        return int(count)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"{self._path}, where the replies are kept, cannot be used: {error}. Free some "
                f"space, or move the file away to begin without it."
            ) from error


def digest(model: str, messages: Sequence[dict[str, Any]], attempt: int) -> str:
    """What a request is known by.

    Args:
        model: Name of the model.
        messages: What it is asked.
        attempt: Which asking of the same this is, from 0: an unusable reply is asked for again.
    """
    return sha256(json.dumps([model, messages, attempt]).encode()).hexdigest()

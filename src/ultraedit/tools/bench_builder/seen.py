"""Which questions there are already, kept on disk so that memory does not grow with the set."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

CACHE_KIB = 64 * 1024
"""Memory of the table's pages; the rest is on disk."""

_HELD_OUT = 0


class AnsweredQuestions:
    """Questions and the answers they were given.

    A question is kept as the first 63 bits of its digest. Of four million questions, two have the
    same with a probability of one in a million; then one row too many is rejected.
    """

    def __init__(self, path: Path) -> None:
        """Begin empty, in a new file."""
        # The file lives as long as the build: nothing has to survive a power cut.
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("CREATE TABLE seen (question INTEGER PRIMARY KEY, answer INTEGER)")
        self._db.execute("BEGIN")

    def hold_out(self, question: str) -> None:
        """Keep a question from being edited."""
        self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (_digest(question), _HELD_OUT))

    def fault(self, questions: Sequence[str], answer: str) -> str:
        """Why these questions cannot be edited with this answer, or ""."""
        answers = self._answers(questions)
        if not answers:
            return ""
        if _HELD_OUT in answers:
            return "held-out"
        return "duplicate" if answers == {_digest(answer)} else "conflicting-answer"

    def is_edited(self, question: str) -> bool:
        """Whether a question was claimed by a row."""
        return bool(self._answers([question]) - {_HELD_OUT})

    def claim(self, questions: Iterable[str], answer: str) -> None:
        """Take questions for a row."""
        value = _digest(answer)
        rows = [(_digest(question), value) for question in questions]
        self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _answers(self, questions: Sequence[str]) -> set[int]:
        marks = ",".join("?" * len(questions))
        query = f"SELECT answer FROM seen WHERE question IN ({marks})"
        return {row[0] for row in self._db.execute(query, [_digest(each) for each in questions])}


def _digest(text: str) -> int:
    data = blake2b(text.casefold().encode(), digest_size=8).digest()
    # Positive, as SQLite's integers are signed, and never the mark of what is held out.
    return int.from_bytes(data, "big") >> 1 or 1

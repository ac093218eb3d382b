"""An unrelated fact for every fact that is edited."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ultraedit.data.relations.questions import Relation
from ultraedit.tools.bench_builder.facts import TripleFact

WINDOW = 200
"""How many facts are looked at for one that is unrelated, before a row goes without."""


class Pair(NamedTuple):
    """What one row is written from."""

    fact: TripleFact
    """Is edited."""

    unrelated: TripleFact
    """Is asked for, and is never edited in the same set."""


class Pool:
    """The facts that are held out, handed round in their random order, on disk."""

    def __init__(self, path: Path) -> None:
        """Begin with no facts, in a new file."""
        self._path = path
        self._writer = path.open("w", encoding="utf-8", newline="\n")
        self._size = 0
        self._window: deque[TripleFact] = deque()
        self._reader: Iterator[TripleFact] = iter(())

    def __len__(self) -> int:
        """How many facts were put in."""
        return self._size

    def add(self, fact: TripleFact) -> None:
        """Put a fact in, before any is asked for."""
        self._writer.write(json.dumps(fact.__dict__, ensure_ascii=False) + "\n")
        self._size += 1

    def partner(self, fact: TripleFact) -> TripleFact | None:
        """The next fact that shares neither subject nor object with this one, or None.

        A fact that is passed over is the first to be looked at for the next row, and one that was
        taken comes again only after all others have.
        """
        entities = fact.entities
        for at in range(min(WINDOW, self._size)):
            if at == len(self._window):
                self._window.append(self._next())
            if entities.isdisjoint(self._window[at].entities):
                partner = self._window[at]
                del self._window[at]
                return partner
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    def _next(self) -> TripleFact:
        fact = next(self._reader, None)
        if fact is None:
            self._writer.flush()
            self._reader = self._read()
            fact = next(self._reader)
        return fact

    def _read(self) -> Iterator[TripleFact]:
        with self._path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield _fact(json.loads(line))


def _fact(values: dict[str, object]) -> TripleFact:
    lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
    key, label, questions = lists["relation"]
    return TripleFact(**{**values, **lists, "relation": Relation(key, label, tuple(questions))})  # type: ignore[arg-type]

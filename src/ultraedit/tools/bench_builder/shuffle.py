"""Records in a random order that depends on the seed and their keys alone, sorted on disk."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.files import explained

BUFFER = 16 * 2**20
"""Bytes that are held before they go to disk."""

_DIGITS = 16
_BUCKETS = 256


class Group(NamedTuple):
    """All records of one key."""

    place: str
    """Where the key stands in the order: 16 hexadecimal digits."""

    records: list[str]
    """As they were added."""


class Shuffle:
    """Puts records into a random order, those of one key together.

    A record goes to one of 256 files by the first digits of its key's digest, so that each file can
    be sorted in memory: 20 million records of Wikidata5M make files of 80,000 lines.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        """Begin with no records, in an empty folder."""
        self._folder = folder
        self._seed = str(seed).encode()[:64]
        self._waiting: list[list[str]] = [[] for _ in range(_BUCKETS)]
        self._counts = [0] * _BUCKETS
        self._bytes = 0
        self._number = 0

    def __len__(self) -> int:
        """How many records were added."""
        return self._number

    def add(self, key: str, record: str) -> None:
        """Add a record without a line break. Equal keys stay in the order in which they came."""
        place = blake2b(key.encode(), digest_size=_DIGITS // 2, key=self._seed).hexdigest()
        bucket = int(place[:2], 16)
        self._number += 1
        line = f"{place}{self._number:012d}{record}\n"
        self._waiting[bucket].append(line)
        self._counts[bucket] += 1
        self._bytes += len(line)
        if self._bytes > BUFFER:
            self._flush()

    def last(self, count: int) -> str:
        """The place from which on the last `count` records stand, or a few more.

        Args:
            count: At least 1, and at most as many as there are.
        """
        for bucket in reversed(range(_BUCKETS)):
            if count <= self._counts[bucket]:
                return self._lines(bucket)[-count][:_DIGITS]
            count -= self._counts[bucket]
        raise ValueError("there are not so many records")

    def groups(self, start: str = "", stop: str = "g") -> Iterator[Group]:
        """The groups in their random order, from one place to before another."""
        for bucket in range(_BUCKETS):
            if f"{bucket:02x}" < start[:2] or f"{bucket:02x}" > stop[:2]:
                continue
            for place, lines in groupby(self._lines(bucket), lambda line: line[:_DIGITS]):
                if start <= place < stop:
                    yield Group(place, [line[_DIGITS + 12 : -1] for line in lines])

    def _lines(self, bucket: int) -> list[str]:
        self._flush()
        path = self._path(bucket)
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="\n") as file:
            return sorted(file)

    def _flush(self) -> None:
        for bucket, lines in enumerate(self._waiting):
            if lines:
                path = self._path(bucket)
                with explained(path), path.open("a", encoding="utf-8", newline="\n") as file:
                    file.writelines(lines)
                lines.clear()
        self._bytes = 0

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:02x}"

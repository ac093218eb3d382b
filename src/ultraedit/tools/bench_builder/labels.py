"""Names of entities by id, looked up in a file that stays on disk."""

from __future__ import annotations

import gzip
import mmap
import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ultraedit.core.errors import DataError
from ultraedit.core.files import explained
from ultraedit.data._files import opened
from ultraedit.tools.bench_builder.triples import tidy


class Labels:
    """The aliases of entities, from lines of ``Q1<tab>first name<tab>second name ...``.

    Memory holds 16 bytes per entity; the names are read where they stand. The first name of a
    line is taken as the entity's label.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        """Index a file.

        Args:
            path: The alias file, plain or gzip.
            scratch: A folder into which a gzip file is unpacked.

        Raises:
            DataError: If the file cannot be read, or a line does not begin with an id.
            StorageError: If it cannot be unpacked.
        """
        self._path = path
        with opened(_unpacked(path, scratch)) as handle:
            numbers, offsets = array("q"), array("q")
            for number, offset in self._lines(handle):
                numbers.append(number)
                offsets.append(offset)
            if not numbers:
                raise DataError(f"{path} is empty, expected an id and its names on each line.")
            # A mapping outlives the handle that it was made from.
            self._text = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        ids = np.frombuffer(numbers, dtype=np.int64)
        order = np.argsort(ids, kind="stable")
        self._ids = ids[order]
        self._offsets = np.frombuffer(offsets, dtype=np.int64)[order]

    def names(self, id: str) -> list[str]:
        """All names of an entity or relation, its label first; none if it is unknown."""
        if not id[1:].isdecimal():
            return []
        number = int(id[1:])
        at = int(np.searchsorted(self._ids, number))
        if at == len(self._ids) or self._ids[at] != number:
            return []
        self._text.seek(int(self._offsets[at]))
        cells = self._text.readline().decode(errors="replace").rstrip("\r\n").split("\t")
        return list(dict.fromkeys(filter(None, map(tidy, cells[1:]))))

    def __len__(self) -> int:
        """How many entities have a name."""
        return len(self._ids)

    def _lines(self, handle: Iterator[bytes]) -> Iterator[tuple[int, int]]:
        """The number in each line's id, and where the line starts."""
        offset = 0
        for count, line in enumerate(handle, 1):
            id = line.partition(b"\t")[0].strip()
            if id:
                if not id[1:].isdigit():
                    raise DataError(
                        f"{self._path}, line {count}: expected an id such as Q42 and its names, "
                        f"separated by tabs, got {line[:60]!r}."
                    )
                yield int(id[1:]), offset
            offset += len(line)


def _unpacked(path: Path, scratch: Path) -> Path:
    with opened(path) as handle:
        if not isinstance(handle.raw, gzip.GzipFile):
            return path
        target = scratch / f"{path.name}.unpacked"
        with explained(target), target.open("wb") as copy:
            shutil.copyfileobj(handle, copy)
    return target

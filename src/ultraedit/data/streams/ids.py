"""Ids that no two edits of a run share, whatever their files called them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise

from ultraedit.core.types import Edit
from ultraedit.data import OddWordings
from ultraedit.data.streams.sampling import EditPanel
from ultraedit.data.streams.sources import EditSource


class Renamed:
    """A source whose edits have other ids where theirs clash.

    An id that several edits of the file have, or one of the run before, becomes ``FILE:N`` with the
    number of the edit in its file. Nothing else changes.
    """

    def __init__(self, source: EditSource, file: str, ids: Ids, taken: Ids) -> None:
        """Wrap a source; see `named_once`."""
        self._source = source
        self._file = file
        self._ids = ids
        self._taken = taken
        panel = source.panel
        edits = [self.named(at, edit) for at, edit in zip(panel.places, panel.edits, strict=True)]
        self.panel = EditPanel(edits, panel.places, panel.newest)

    @property
    def wording(self) -> OddWordings:
        """What has to be said of how the facts are written."""
        return self._source.wording

    @property
    def total(self) -> int:
        """How many there are."""
        return self._source.total

    def after(self, done: int = 0) -> Iterator[Edit]:
        """All edits behind the first so many."""
        for at, edit in enumerate(self._source.after(done), start=done):
            yield self.named(at, edit)

    def named(self, at: int, edit: Edit) -> Edit:
        """The edit at a place, counted from 0."""
        if not self._ids.is_double(edit.id) and edit.id not in self._taken:
            return edit
        name, number = f"{self._file}:{at + 1}", 1
        while name in self._ids or name in self._taken:
            number += 1
            name = f"{self._file}:{at + 1}#{number}"
        return replace(edit, id=name)


class Ids:
    """A set of ids, eight bytes each, that any thread may read."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        """Read them all."""
        self._digests = array("Q", sorted(map(_digest, ids)))

    def __contains__(self, id: str) -> bool:
        """Whether an edit has it."""
        return self._count(id) > 0

    def is_double(self, id: str) -> bool:
        """Whether several edits have it."""
        return self._count(id) > 1

    def __len__(self) -> int:
        """How many there are, those that several edits have counted as often."""
        return len(self._digests)

    def has_doubles(self) -> bool:
        """Whether several edits have one."""
        return any(one == other for one, other in pairwise(self._digests))

    def _count(self, id: str) -> int:
        """None, one, or several."""
        digest = _digest(id)
        at = bisect_left(self._digests, digest)
        return sum(each == digest for each in self._digests[at : at + 2])


def named_once(
    source: EditSource, file: str, taken: Iterable[str] = ()
) -> tuple[EditSource, list[tuple[str, str]]]:
    """Give the edits of a source ids that are unique in their run.

    Args:
        source: The edits.
        file: Name of their file.
        taken: The ids that edits of the run have already.

    Returns:
        The source, and the old and the new id of each edit that is renamed.
    """
    ids, others = Ids(edit.id for edit in source.after()), Ids(taken)
    if not ids.has_doubles() and not others:
        return source, []  # without a second look at a file that may be long
    renamed = Renamed(source, file, ids, others)
    changes = [
        (edit.id, renamed.named(at, edit).id)
        for at, edit in enumerate(source.after())
        if ids.is_double(edit.id) or edit.id in others
    ]
    return (renamed, changes) if changes else (source, [])


def _digest(id: str) -> int:
    return int.from_bytes(
        blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )

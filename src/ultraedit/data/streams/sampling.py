"""Which edits of a stream are scored: all of them, or a sample that anyone draws again."""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ultraedit.core.types import Edit


@dataclass(frozen=True)
class EditPanel:
    """The edits of a stream whose questions are asked at every checkpoint."""

    edits: Sequence[Edit]
    """In the order in which they are made."""

    places: Sequence[int]
    """Where each of them stands in the stream, from 0, ascending."""

    newest: Mapping[str, Edit] | None
    """The last edit of the whole stream for each of their prompts. None where `edits` are the whole
    stream, and say so themselves."""

    def made(self, count: int) -> Sequence[Edit]:
        """Those among the first so many edits of the stream."""
        return self.edits[: bisect_left(self.places, count)]


def whole(edits: Sequence[Edit]) -> EditPanel:
    """A panel of all edits."""
    return EditPanel(edits, range(len(edits)), None)


def draw(edits: Iterable[Edit], size: int, seed: int) -> tuple[int, EditPanel]:
    """Draw a sample in one pass, holding little more than the sample.

    The edits with the smallest hashes are taken. A hash depends on the seed and the edit's own
    words alone, so the same edits give the same sample wherever they are read from.

    Args:
        edits: The stream.
        size: Most edits of the sample.
        seed: Decides which.

    Returns:
        The number of edits in the stream, and the sample in the order of the stream.
    """
    kept: list[tuple[int, int, Edit]] = []  # a heap; on top the one that would go next
    newest: dict[str, Edit] = {}
    prompts: Counter[str] = Counter()
    total = 0
    for place, edit in enumerate(edits):
        total += 1
        if edit.prompt in newest:
            newest[edit.prompt] = edit
        entry = (-_hash(edit, seed), -place, edit)
        if len(kept) < size:
            heapq.heappush(kept, entry)
        elif entry[0] > kept[0][0]:
            gone = heapq.heapreplace(kept, entry)[2].prompt
            prompts[gone] -= 1
            if not prompts[gone]:
                del newest[gone], prompts[gone]
        else:
            continue
        prompts[edit.prompt] += 1
        newest[edit.prompt] = edit
    ordered = sorted((-place, edit) for _, place, edit in kept)
    chosen = tuple(edit for _, edit in ordered)
    places = tuple(place for place, _ in ordered)
    return total, EditPanel(chosen, places, None if len(chosen) == total else newest)


def _hash(edit: Edit, seed: int) -> int:
    words = "\0".join((str(seed), edit.id, edit.prompt, edit.target))
    # Half a surrogate pair is no text, and is refused where it is tokenized.
    digest = hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")

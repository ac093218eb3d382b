"""Facts that come more than once, letter by letter or but for case and blanks."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

from ultraedit.core.types import Edit

_PART = 32
"""Bits of a digest that tells apart texts with the same folded prompt: few, so short will do."""

_MASK = (1 << _PART) - 1
_BEFORE_MARK = re.compile(r" (?=[^\w\s(\[{\"'«“\u2018<@#$&+-])")


class Earlier(NamedTuple):
    """The newest earlier row with some prompt."""

    row: int
    same_target: bool


class Match(NamedTuple):
    """What came before an edit."""

    exact: Earlier | None
    """With the same prompt, and target, letter by letter."""

    folded: Earlier | None
    """With the same prompt, and target, but for case and blanks."""


class Repeats:
    """The prompts so far, about 150 bytes each."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        # Prompts of which another spelling came later, letter by letter.
        self._others: dict[tuple[int, int], int] = {}

    def add(self, row: int, edit: Edit) -> Match:
        """Look for the newest earlier row with this prompt, and become it.

        Args:
            row: Number of the edit's row.
            edit: The edit.
        """
        key = digest(fold(edit.prompt))
        spelling, target = _short(edit.prompt), _short(edit.target)
        folded = _short(fold(edit.target))
        earlier = self._newest.get(key)
        # Row number and digests in one integer: a tuple would take three times the memory.
        self._newest[key] = ((row << _PART | spelling) << _PART | target) << _PART | folded
        if earlier is None:
            return Match(None, None)
        number, old_spelling, old_target, old_folded = _parts(earlier)
        same_fold = Earlier(number, old_folded == folded)
        if old_spelling == spelling:
            return Match(Earlier(number, old_target == target), same_fold)
        self._others[key, old_spelling] = earlier
        other = self._others.get((key, spelling))
        if other is None:
            return Match(None, same_fold)
        number, _, old_target, _ = _parts(other)
        return Match(Earlier(number, old_target == target), same_fold)


def fold(text: str) -> str:
    """A text without its case, and with blanks only between words."""
    text = " ".join(text.casefold().split())
    return _BEFORE_MARK.sub("", text)


def fact(prompt: str, target: str) -> int:
    """A 64-bit digest of a fact, the same but for case and blanks."""
    return digest(f"{fold(prompt)}\0{fold(target)}")


def digest(text: str) -> int:
    """A 64-bit digest of a text."""
    return int.from_bytes(_bytes(text, 8), "big")


def _short(text: str) -> int:
    return int.from_bytes(_bytes(text, _PART // 8), "big")


def _bytes(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _parts(packed: int) -> tuple[int, int, int, int]:
    return (
        packed >> 3 * _PART,
        packed >> 2 * _PART & _MASK,
        packed >> _PART & _MASK,
        packed & _MASK,
    )

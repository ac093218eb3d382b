"""Turns with their edits as token ids, so that a turn need not wait for the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ultraedit.core.encoding import Encoded
from ultraedit.core.errors import DataError
from ultraedit.core.types import Turn

Pair = tuple[str, str]
"""A prompt and its target."""

Encode = Callable[[Sequence[Pair]], Sequence[Encoded]]


class TokenizedTurn(NamedTuple):
    """A turn, ready to be made."""

    turn: Turn
    tokens: Mapping[Pair, Encoded]
    """Its prompts and targets as token ids."""


def tokenized_turns(
    turns: Iterable[Turn], encode: Encode, done: int = 0
) -> Iterator[TokenizedTurn]:
    """Tokenize turn after turn.

    Args:
        turns: The turns.
        encode: Tokenizes pairs. Called from another thread than the one that edits, which is safe
            as long as nobody has the tokenizer pad or truncate.
        done: Number of edits before them, for messages.

    Yields:
        The turns in their order.

    Raises:
        DataError: If an edit cannot be tokenized or is too long, naming its row.
    """
    for turn in turns:
        pairs = [(edit.prompt, edit.target) for edit in turn.edits]
        try:
            items = encode(pairs)
        except DataError:
            _refuse(pairs, encode, done)
            raise
        yield TokenizedTurn(turn, dict(zip(pairs, items, strict=True)))
        done += len(pairs)


def _refuse(pairs: Sequence[Pair], encode: Encode, done: int) -> None:
    """Say which row it is that cannot be tokenized."""
    for row, pair in enumerate(pairs, start=done + 1):
        try:
            encode([pair])
        except DataError as error:
            raise DataError(f"Row {row:,}: {error}") from error

"""Facts to write, the questions that score them, and the turns that they come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ultraedit.core.errors import DataError


class Question(NamedTuple):
    """A prompt and the answer that it should get."""

    prompt: str

    target: str | None = None
    """The gold answer. None where the data has none: then only agreement can be scored."""


@dataclass(frozen=True)
class Edit:
    """One fact to write into the weights, with the questions that show whether it took."""

    prompt: str
    """What the model is asked."""

    target: str
    """What it should answer from now on."""

    subject: str | None = None
    """The part of `prompt` that names the entity. Needed by the MEMIT family alone."""

    rephrases: tuple[str, ...] = ()
    """Other ways of asking the same. They score generalization and are never edited on."""

    locality: tuple[Question, ...] = ()
    """Unrelated questions whose answers must not change. They score specificity."""

    probes: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    """Further named questions, such as ``personas`` or ``multi_hop``. Scored by name."""

    aliases: tuple[str, ...] = ()
    """Answers that count as right beside `target` in free generation."""

    id: str = ""
    """The name of this edit in its file."""

    also: tuple[str, ...] = ()
    """Other ways of asking that are edited on too, by editors that can, and never scored."""

    def __post_init__(self) -> None:
        """Refuse an edit that says nothing.

        Raises:
            DataError: If the prompt or the target is not a string with a visible character.
        """
        for name in ("prompt", "target"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(
                    f"{name} must be a text with at least one visible character, got {value!r}."
                )


def write_rephrases(edit: Edit, count: int) -> Edit:
    """The same edit with its first rephrases among what is edited on, and no longer scored.

    Args:
        edit: The edit.
        count: How many of its rephrases, where it has so many.
    """
    if not count:
        return edit
    return replace(edit, also=edit.also + edit.rephrases[:count], rephrases=edit.rephrases[count:])


class Turn(NamedTuple):
    """The edits that are applied together. The weights carry over from turn to turn."""

    number: int
    """Number of the turn in its run, from 1."""

    edits: tuple[Edit, ...]


def turns(edits: Iterable[Edit], edits_per_turn: int, first: int = 1) -> Iterable[Turn]:
    """Cut a stream of edits into turns. The last one may be short; nothing is dropped.

    Args:
        edits: The edits, read as they are needed.
        edits_per_turn: Size of every turn but perhaps the last.
        first: Number of the first turn.

    Yields:
        The turns, numbered from `first`.
    """
    batch: list[Edit] = []
    number = first
    for edit in edits:
        batch.append(edit)
        if len(batch) == edits_per_turn:
            yield Turn(number, tuple(batch))
            batch, number = [], number + 1
    if batch:
        yield Turn(number, tuple(batch))

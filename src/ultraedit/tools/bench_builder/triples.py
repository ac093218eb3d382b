"""A fact as an input file states it."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple


class Triple(NamedTuple):
    """Subject, relation and object, with whatever else the file says about them."""

    line: int
    """Line of the file, from 1."""

    subject: str
    """Its name. Empty where the file has ids alone."""

    relation: str
    """Wikidata's id of it, such as ``P19``, or its name."""

    objects: tuple[str, ...]
    """Their names; the first becomes the answer, the others count as right too."""

    subject_id: str = ""

    object_id: str = ""

    subject_aliases: tuple[str, ...] = ()

    object_aliases: tuple[str, ...] = ()
    """Other names of the first object."""

    questions: tuple[str, ...] = ()
    """The row's own wordings, with ``[X]`` for the subject."""


class Unreadable(NamedTuple):
    """A row that could not be taken apart."""

    line: int

    text: str
    """What is wrong with it, without a full stop."""


def tidy(text: str) -> str:
    """Bring a name into one form: single blanks, composed letters."""
    text = " ".join(text.split())
    return text if text.isascii() else unicodedata.normalize("NFC", text)

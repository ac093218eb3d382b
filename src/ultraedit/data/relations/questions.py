"""Relations: how they are named in files of triples, and how the template writer asks for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SLOT = "[X]"
"""Stands for the subject in a wording, as in ParaRel."""

_FORM = f'a question with {SLOT} for the subject, such as "Who wrote {SLOT}?"'


class Relation(NamedTuple):
    """What a triple says of its subject."""

    key: str
    """Wikidata's id where it is known, else the name in small letters."""

    label: str

    questions: tuple[str, ...] = ()
    """Ways of asking for the object, with `SLOT` for the subject. Empty if there are none."""


class Relations:
    """The relations that are known, by id, label or alias."""

    def __init__(self, rows: Mapping[str, Relation]) -> None:
        """Take the relations by every name that they go by, in small letters."""
        self._rows = dict(rows)

    def find(self, name: str, label: str = "") -> Relation:
        """Find a relation; one that is not known has no wording.

        Args:
            name: Its id or name, in whatever case.
            label: What to call it if only its id is known.
        """
        folded = name.casefold()
        return self._rows.get(folded) or Relation(folded, label or name)

    def __iter__(self) -> Iterator[Relation]:
        """Each relation once."""
        return iter(dict.fromkeys(self._rows.values()))


def load_relations(patterns: Path | None = None) -> Relations:
    """Read the table of this package, and a user's wordings over it.

    Args:
        patterns: A JSON or TOML file from the id or name of each relation to its questions, or to
            a table of ``label``, ``aliases`` and ``questions``. They take the place of ours.

    Raises:
        DataError: If the file cannot be read, or a wording is not a question with ``[X]``.
    """
    rows = dict(_own())
    if patterns is not None:
        for name, entry in _read(patterns).items():
            rows |= _named(name, entry, rows, f"{patterns}, {name}")
    return Relations(rows)


@cache
def _own() -> Mapping[str, Relation]:
    text = (files(__package__) / "questions.toml").read_text("utf-8")
    rows: dict[str, Relation] = {}
    for name, entry in tomllib.loads(text).items():
        rows |= _named(name, entry, rows, name)
    return rows


def _named(name: str, entry: Any, known: Mapping[str, Relation], where: str) -> dict[str, Relation]:
    """A relation under each of its names."""
    table = entry if isinstance(entry, dict) else {"questions": entry}
    before = known.get(name.casefold())
    label = table.get("label", before.label if before else name)
    aliases = table.get("aliases", [])
    if not isinstance(label, str) or not _are_texts(aliases):
        raise DataError(f"{where}: label must be a text and aliases a list of texts.")
    key = before.key if before else name
    described = Relation(key, label, check_questions(table.get("questions"), where))
    names = {name, label, key, *aliases}
    if before:
        names |= {other for other, relation in known.items() if relation is before}
    return {each.casefold(): described for each in names}


def check_questions(value: Any, where: str) -> tuple[str, ...]:
    """Refuse wordings that the template writer could not use.

    Args:
        value: What should be a list of them.
        where: What to call it in an error message.

    Raises:
        DataError: If it is not a list of at least two different questions with ``[X]``.
    """
    if not _are_texts(value):
        raise DataError(f"{where}: expected a list, each of it {_FORM}, got {str(value)[:80]!r}.")
    for text in value:
        fault = wording_fault(text)
        if fault:
            raise DataError(f"{where}: {text!r} {fault}. Expected {_FORM}.")
    if len(set(value)) < 2:
        raise DataError(
            f"{where}: expected at least two different questions, one to edit with and one to "
            f"rephrase it, got {len(set(value))}."
        )
    return tuple(dict.fromkeys(value))


def wording_fault(text: str) -> str:
    """What keeps a wording from being used, or ""."""
    if "[Y]" in text:
        return "has a place for the answer"
    if text.count(SLOT) != 1:
        return f"has {text.count(SLOT)} places for the subject"
    return "" if text.endswith("?") else "does not end in a question mark"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        entries = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # of JSON, of TOML and of UTF-8
        raise DataError(f"{path} cannot be read as JSON or TOML: {error}.") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path}: expected an object from relations to lists, each {_FORM}.")
    return entries

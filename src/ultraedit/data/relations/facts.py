"""Which relation a fact is of, told by the wording of its prompt, and its templates.

The table is ``facts.toml``. Formats with a few fixed wordings per relation are known by them,
the sets of ``ultraedit build-bench`` by the questions of `relations.questions`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from ultraedit.core.types import Edit
from ultraedit.data.relations.questions import SLOT, load_relations

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OBJECT = "[Y]"
"""Stands for the object in a template, as in ParaRel; `SLOT` for the subject."""


class Templates(NamedTuple):
    """What is asked of the facts of one relation."""

    key: str
    """Wikidata's id, and a word where one id has several meanings."""

    reverse: str
    """A question with `OBJECT` that the subject answers."""

    statement: str
    """The beginning of a statement with `SLOT` that the object ends."""

    negated: str
    """The beginning of its negation."""

    wordings: tuple[str, ...]
    """Prompts that facts of this relation have, with `SLOT`."""

    bench: tuple[str, ...] = ()
    """The relations of `relations.questions` that it covers."""


class Fact(NamedTuple):
    """An edit as subject, relation and object."""

    subject: str
    relation: Templates
    object: str

    @property
    def reverse(self) -> str:
        """The question that the subject answers."""
        return self.relation.reverse.replace(OBJECT, self.object)

    @property
    def statement(self) -> str:
        """The statement without the object."""
        return self.relation.statement.replace(SLOT, self.subject)

    @property
    def negated(self) -> str:
        """The negated statement without the object."""
        return self.relation.negated.replace(SLOT, self.subject)


def fact_of(edit: Edit, answer: str) -> Fact | None:
    """Take an edit apart; None where it has no subject, or no wording of the table.

    Args:
        edit: The edit.
        answer: The object, which a later edit may have changed.
    """
    subject = edit.subject
    if not subject or subject not in edit.prompt:
        return None
    relation = _by_wording().get(edit.prompt.replace(subject, SLOT, 1).strip())
    return None if relation is None else Fact(subject, relation, answer)


@cache
def relations() -> tuple[Templates, ...]:
    """All relations of the table."""
    text = (files(__package__) / "facts.toml").read_text("utf-8")
    known = load_relations()
    return tuple(
        Templates(
            key,
            entry["reverse"],
            entry["statement"],
            entry["negated"],
            tuple(_wordings(entry, known)),
            tuple(entry.get("build_bench", ())),
        )
        for key, entry in tomllib.loads(text).items()
    )


def _wordings(entry: Mapping[str, Any], known: Any) -> Iterator[str]:
    """Those of the table, then those of this program's own benchmark."""
    yield from entry.get("wordings", ())
    for name in entry.get("build_bench", ()):
        yield from known.find(name).questions


@cache
def _by_wording() -> dict[str, Templates]:
    return {wording: relation for relation in relations() for wording in relation.wordings}

"""Rephrasings for facts that come without any, so that generalization is measured all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ultraedit.enrich import TemplateWriter, enrich
from ultraedit.stream import Panel, Source
from ultraedit.types import Edit

MADE = 2
"""Rephrasings that are asked of each fact."""


class WithRephrases:
    """A source of bare facts, of which rephrasings are asked that nobody wrote."""

    def __init__(self, source: Source) -> None:
        """Make the rephrasings of the edits that are scored; no edit has any of its own."""
        self._source = source
        self.panel = with_rephrases(source.panel)

    @property
    def total(self) -> int:
        """How many edits there are."""
        return self._source.total

    def after(self, done: int = 0) -> Iterator[Edit]:
        """All edits behind the first so many, as they are: nothing that is made is edited on."""
        return self._source.after(done)


def is_bare(edits: Iterable[Edit]) -> bool:
    """Whether no edit has a rephrasing."""
    return not any(edit.rephrases for edit in edits)


def with_rephrases(panel: Panel) -> Panel:
    """A panel whose edits have rephrasings by English patterns, where none has one of its own."""
    if not is_bare(panel.edits):
        return panel
    made = enrich(panel.edits, TemplateWriter())
    edits = tuple(
        # What else the writer makes is left out: a subject would change what is edited.
        replace(edit, rephrases=each.edit.rephrases[:MADE])
        for edit, each in zip(panel.edits, made, strict=True)
    )
    return replace(panel, edits=edits)


def remarks(before: Iterable[Edit], panel: Panel) -> dict[str, str]:
    """What has to be said of the score, by its name; nothing where nothing was made.

    Args:
        before: The edits as they came.
        panel: As they are scored.
    """
    count = sum(bool(edit.rephrases) for edit in panel.edits)
    if not count or not is_bare(before):
        return {}
    of = f"{count:,} of {len(panel.edits):,} edits"
    return {"generalization": f"on rephrasings made by English patterns, of {of}"}

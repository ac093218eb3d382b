"""What a run says of its facts: which were known, and that rephrasings of bare ones are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ultraedit.core.types import Answer, Edit
from ultraedit.data import OddWordings
from ultraedit.data.enrichment import TemplateWriter, enrich
from ultraedit.data.streams import EditPanel, EditSource
from ultraedit.evaluation.metrics import exact_match

MADE = 2
"""Rephrasings that are asked of each fact."""


class WithRephrases:
    """A source of bare facts, of which rephrasings are asked that nobody wrote."""

    def __init__(self, source: EditSource) -> None:
        """Make the rephrasings of the edits that are scored; no edit has any of its own."""
        self._source = source
        self.panel = with_rephrases(source.panel)

    @property
    def wording(self) -> OddWordings:
        """What has to be said of how the facts are written."""
        return self._source.wording

    @property
    def total(self) -> int:
        """How many edits there are."""
        return self._source.total

    def after(self, done: int = 0) -> Iterator[Edit]:
        """All edits behind the first so many, as they are: nothing that is made is edited on."""
        return self._source.after(done)


def known_before(answers: Iterable[Answer]) -> dict[str, str]:
    """What has to be said of facts that the unedited model answers; nothing if it answers none.

    Args:
        answers: The generated answers of a run.
    """
    asked = [each for each in answers if each.kind == "efficacy" and each.target is not None]
    known = [each for each in asked if exact_match(each.before, [str(each.target)])]
    if not known:
        return {}
    ids = ", ".join(each.edit_id for each in known[:3])
    return {
        "known before": f"the unedited model answers {len(known):,} of the {len(asked):,} facts "
        f"asked in free generation, with the ids {ids}{', ...' if len(known) > 3 else ''}"
    }


def is_bare(edits: Iterable[Edit]) -> bool:
    """Whether no edit has a rephrasing."""
    return not any(edit.rephrases for edit in edits)


def with_rephrases(panel: EditPanel) -> EditPanel:
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


def remarks(before: Iterable[Edit], panel: EditPanel) -> dict[str, str]:
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

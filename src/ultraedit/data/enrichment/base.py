"""What is added to a fact, whoever makes it, and which of it is accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from ultraedit.core.types import Edit, Question
from ultraedit.data._check import appears
from ultraedit.data._repeats import fold

MOST = 5
"""Rephrasings that a fact gets at most."""

FEWEST = 2
"""Rephrasings that it should have."""

REVERSE = "reversed"
"""Name of the probe that asks for the subject."""


@dataclass(frozen=True)
class Wording:
    """What a writer has for a fact."""

    rephrases: tuple[str, ...] = ()
    """The same in other words. Questions, or sentences that the answer ends."""

    subject: str | None = None
    """The part of the prompt that names the entity."""

    controls: tuple[Question, ...] = ()
    """The same of other subjects, whose answers must not change."""

    reverse: Question | None = None
    """Asks for the subject."""

    reason: str | None = None
    """Why there is nothing in other words."""


@dataclass(frozen=True)
class Enriched:
    """A fact, and what has become of it."""

    edit: Edit

    added: Mapping[str, int]
    """How many rephrases, locality questions and so on are new."""

    reason: str | None
    """Why it has fewer than `FEWEST` rephrases."""


class Writer(Protocol):
    """Finds other wordings of facts."""

    batch: int
    """How many facts it likes to have at once."""

    def describe(self) -> Mapping[str, str]:
        """Its name and settings."""
        ...

    def write(self, edits: Sequence[Edit]) -> Iterator[Wording]:
        """Find wordings of each fact, in their order."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def enrich(edits: Iterable[Edit], writer: Writer) -> Iterator[Enriched]:
    """Add to each fact what it lacks.

    Args:
        edits: The facts.
        writer: Who makes what is missing.

    Yields:
        The facts in their order.
    """
    remaining = iter(edits)
    while batch := list(islice(remaining, writer.batch)):
        for edit, wording in zip(batch, writer.write(batch), strict=True):
            yield _completed(edit, wording)


def _completed(edit: Edit, wording: Wording) -> Enriched:
    rephrases = _rephrases(edit, wording.rephrases)
    probes = dict(edit.probes)
    if wording.reverse is not None and REVERSE not in probes:
        probes[REVERSE] = (wording.reverse,)
    subject = edit.subject or wording.subject
    controls = () if edit.locality else wording.controls
    made = replace(
        edit,
        subject=subject if subject and subject in edit.prompt else edit.subject,
        rephrases=rephrases,
        locality=edit.locality + controls,
        probes=probes,
    )
    added = {
        "rephrases": len(rephrases) - len(edit.rephrases),
        "subject": int(made.subject is not None and edit.subject is None),
        "control questions": len(controls),
        "reverse question": len(probes) - len(edit.probes),
    }
    reason = None
    if len(rephrases) < FEWEST:
        reason = wording.reason or "too few wordings name the subject and do not give the answer"
    return Enriched(made, added, reason)


def _rephrases(edit: Edit, made: Sequence[str]) -> tuple[str, ...]:
    """Those that the fact has, then new ones that differ and do not give the answer away."""
    kept = list(edit.rephrases)
    seen = {fold(text) for text in (edit.prompt, *kept)}
    answers = [edit.target, *edit.aliases]
    given = any(appears(answer, edit.prompt) for answer in answers)
    for text in made:
        text = " ".join(text.split())
        if len(kept) >= MOST:
            break
        if not text or fold(text) in seen:
            continue
        if not given and any(appears(answer, text) for answer in answers):
            continue
        seen.add(fold(text))
        kept.append(text)
    return tuple(kept)

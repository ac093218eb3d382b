"""The outcome of a check, as values that print, compare and go into JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

EXAMPLES = 5
"""How many examples of each finding a report holds."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    row: int
    """Number of the row, from 1."""
    line: int
    """Line of the file where it starts, from 1."""
    reason: str
    """Its first fault, in a sentence."""


@dataclass(frozen=True)
class FieldFault:
    """One kind of fault in one field, over the whole file."""

    field: str
    """The key, or "" for rows that could not be taken apart."""
    problem: str
    """``missing`` (or null), ``empty``, ``type``, ``unknown`` or ``malformed``."""
    count: int
    """Rows that have it."""
    rows: tuple[int, ...]
    """Numbers of the first `EXAMPLES` of them."""
    lines: tuple[int, ...]
    """Lines where these start."""


@dataclass(frozen=True)
class Example:
    """One edit that a finding is about."""

    row: int
    line: int
    prompt: str
    target: str
    earlier_row: int | None = None
    """The newest earlier row with the same prompt, where the finding is about two rows."""


@dataclass(frozen=True)
class Finding:
    """Edits that can be used but that the user may want to look at."""

    count: int
    examples: tuple[Example, ...]
    """The first `EXAMPLES` of them."""


@dataclass(frozen=True)
class TokenLengths:
    """Lengths of prompt and target together, in tokens of a model."""

    min: int
    median: int
    p95: int
    max: int
    context_length: int | None
    """Most tokens that the model takes, if it was given."""
    too_long: Finding
    """Edits that are longer than that."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What `check` found in a file of edits."""

    data: str
    """The file, as ``FORMAT:PATH``."""
    columns: Mapping[str, Sequence[str]]
    """The columns of a table that each part of a fact is taken from; empty for other files."""
    ok: bool
    """Whether every row was read and can be used, and fits into the context of the model."""
    error: str | None
    """Why the file could not be read to its end, or that it has no rows."""
    rows: int
    """Rows seen, bad ones included."""
    bad_rows: int
    """Rows that cannot be used."""
    bad: tuple[BadRow, ...]
    """The first 100 of them."""
    fields: tuple[FieldFault, ...]
    """All their faults by field. A row may have several."""
    duplicates: Finding
    """Edits whose prompt an earlier row has."""
    conflicts: Finding
    """Those of the duplicates that give the prompt another target than its row before did."""
    target_in_prompt: Finding
    """Edits whose prompt gives the target away."""
    blank_at_end: Finding
    """Edits with a prompt that ends in a blank, which is read in front of the answer."""
    blank_around_target: Finding
    """Edits with a target that begins or ends with white space, which is left out."""
    placeholder: Finding
    """Edits with a prompt that still has ``{}`` in it, as a template has."""
    wording: tuple[str, ...]
    """Sentences about these three, with the numbers of the first rows, as a run begins with."""
    findings: Mapping[str, Finding]
    """Facts to look at before they are written, by kind: the keys are those of `KINDS` in
    ``_findings.py``, and a kind of which there are none is left out."""
    coverage: Mapping[str, int]
    """How many edits have a ``subject``, ``rephrases``, ``locality``, ``locality_target``,
    ``aliases`` and each ``probes.NAME``; what none has is left out."""
    tokens: TokenLengths | None
    """Token lengths, where a model was given."""

    def to_dict(self) -> dict[str, Any]:
        """Turn the report into values that `json` can write."""
        return asdict(self)

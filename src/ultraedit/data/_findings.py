"""What a fact should be looked at for before it is written: it can be used, and may be wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ultraedit.core.types import Edit
from ultraedit.data._repeats import Match, Repeats, fact
from ultraedit.data._report import EXAMPLES, Example, Finding
from ultraedit.data._rows import shown

ANSWER_TOKENS = 32
"""Tokens of an answer above which it is named: a long one is written worse, and costs more."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "contradiction": "an earlier row gives another answer",
        "repetition": "an earlier row says the same",
        "in_run": "the run has it already",
        "known": "the model answers it already",
        "long_answer": "the answer has too many tokens",
        "several_lines": "the answer has several lines",
        "encoding": "letters in the wrong encoding",
    }
)
"""Every kind of finding, and how it is said."""

# UTF-8 read as Windows-1252: a capital A with tilde or circumflex, or an a with circumflex, before
# what the second byte became. Control characters of C1 and U+FFFD are no text.
_WRONG = re.compile(
    "\ufffd|[\x80-\x84\x86-\x9f]|\u00e2[\u20ac\u201a]|\u00c2[\xa0-\xbf]|"
    "\u00c3[\xa0-\xbf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d"
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
)


class EditLocation(NamedTuple):
    """Where an edit stands."""

    row: int
    line: int


class Findings:
    """What is found in a stream of edits, kind by kind."""

    def __init__(
        self,
        *,
        count_answer: Callable[[str], int] | None = None,
        answer_tokens: int = ANSWER_TOKENS,
        run: Collection[int] = (),
    ) -> None:
        """Start with nothing.

        Args:
            count_answer: Counts the tokens of an answer under a model. None counts none.
            answer_tokens: Tokens above which an answer is named.
            run: The facts that a run has already, as `fact` gives them.
        """
        self._count = count_answer
        self._most = answer_tokens
        self._run = run
        self._repeats = Repeats()
        self._cases: dict[str, CountedEdits] = {}

    def add(self, place: EditLocation, edit: Edit) -> Match:
        """Take one more edit into account.

        Returns:
            The earlier rows with its prompt.
        """
        match = self._repeats.add(place.row, edit)
        if match.folded is not None:
            kind = "repetition" if match.folded.same_target else "contradiction"
            self.note(kind, place, edit, match.folded.row)
        if self._run and fact(edit.prompt, edit.target) in self._run:
            self.note("in_run", place, edit)
        # A token takes a byte at least, so that short answers need not be counted.
        may_be_long = self._count is not None and len(edit.target.encode()) > self._most
        if may_be_long and self._count is not None and self._count(edit.target) > self._most:
            self.note("long_answer", place, edit)
        if len(edit.target.strip().splitlines()) > 1:
            self.note("several_lines", place, edit)
        if is_mojibake(edit.prompt) or is_mojibake(edit.target):
            self.note("encoding", place, edit)
        return match

    def note(
        self, kind: str, place: EditLocation, edit: Edit, earlier_row: int | None = None
    ) -> None:
        """Note a finding of one of `KINDS`."""
        self._cases.setdefault(kind, CountedEdits()).add(place, edit, earlier_row)

    def summed_up(self) -> dict[str, Finding]:
        """The findings by kind, in the order of `KINDS`; kinds of which there are none left out."""
        return {kind: self._cases[kind].finding() for kind in KINDS if kind in self._cases}


class CountedEdits:
    """How many edits, and what the first of them are."""

    def __init__(self) -> None:
        self.count = 0
        self._examples: list[Example] = []

    def add(self, place: EditLocation, edit: Edit, earlier_row: int | None = None) -> None:
        """Count one more."""
        self.count += 1
        if len(self._examples) < EXAMPLES:
            prompt, target = (
                shown(text, quote=False, length=200) for text in (edit.prompt, edit.target)
            )
            self._examples.append(Example(*place, prompt, target, earlier_row))

    def finding(self) -> Finding:
        """Sum up."""
        return Finding(self.count, tuple(self._examples))


def find(edits: Iterable[Edit], findings: Findings) -> dict[str, Finding]:
    """Look through edits, whose places are counted from 1.

    Args:
        edits: The edits.
        findings: What to look for, with nothing in it yet.
    """
    for number, edit in enumerate(edits, start=1):
        findings.add(EditLocation(number, number), edit)
    return findings.summed_up()


def is_mojibake(text: str) -> bool:
    """Whether a text was once read in another encoding than it was written in."""
    return not text.isascii() and _WRONG.search(text) is not None

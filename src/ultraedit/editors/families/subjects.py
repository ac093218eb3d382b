"""Where the subject of an edit stands in its prompt, as its row says or as its rephrase shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit

SubjectSource = Literal["given", "auto"]
"""``given``: the subject of the row. ``auto``: for rows without one that stands in the prompt, the
longest span of the prompt that the first rephrase to share any shares with it."""

_WORD = re.compile(r"\w+(?:[.-]\w+)*")
"""A word, without the 's of a genitive."""

_OPENERS = frozenset(
    # Words that are written with a capital where they open a sentence.
    "a an and are at by can could did do does for from has have how in is of on the to was "  # noqa: SIM905
    "were what when where which who whom whose why".split()
)
NAMED = 5
"""How many rows an error names."""


class Span(NamedTuple):
    """Part of a prompt."""

    start: int
    """First character."""

    end: int
    """First character after it."""


def find_subjects(edits: Sequence[Edit], source: SubjectSource) -> list[Span]:
    """Find the subject of each edit in its prompt.

    Args:
        edits: The edits.
        source: Whether rows without a subject are refused or get one.

    Raises:
        DataError: If some have none, naming them.
    """
    spans = [_given(edit) or (_shared(edit) if source == "auto" else None) for edit in edits]
    missing = [edit for edit, span in zip(edits, spans, strict=True) if span is None]
    if missing:
        raise DataError(_complaint(missing, len(edits), source))
    return [span for span in spans if span is not None]


def _complaint(missing: Sequence[Edit], count: int, source: SubjectSource) -> str:
    names = ", ".join(edit.id or repr(edit.prompt) for edit in missing[:NAMED])
    more = ", ..." if len(missing) > NAMED else ""
    begin = (
        f"This editor needs the subject of each edit, but {len(missing)} of {count} have none that "
        f"stands in their prompt ({names}{more})"
    )
    if source == "auto":
        return f"{begin}, and no rephrase shares a word with it. Add a subject to these rows."
    return (
        f"{begin}. Add a subject to these rows, or give --set subject=auto to take the longest "
        "span that prompt and rephrase share."
    )


def _given(edit: Edit) -> Span | None:
    """The last place of the subject in the prompt, as whole words where there is one.

    The last, because the model has read most of the prompt there.
    """
    if not edit.subject or not edit.subject.strip():
        return None
    text = re.escape(edit.subject.strip())
    for pattern, flags in ((rf"(?<!\w){text}(?!\w)", 0), (text, 0), (text, re.IGNORECASE)):
        matches = list(re.finditer(pattern, edit.prompt, flags))
        if matches:
            return Span(*matches[-1].span())
    return None


def _shared(edit: Edit) -> Span | None:
    for rephrase in edit.rephrases:
        span = longest_shared_span(edit.prompt, rephrase)
        if span is not None:
            return span
    return None


def longest_shared_span(prompt: str, rephrase: str) -> Span | None:
    """The longest run of words of a prompt that stands in a rephrase too, in characters.

    Words are compared without regard to case. A run is cut back to where its names begin and end,
    that is its words with a capital or a digit, those aside that often open a sentence; a run
    without a name counts only where no run has one. None if no word is shared.
    """
    words = list(_WORD.finditer(prompt))
    named = [
        not match.group().islower() and match.group().lower() not in _OPENERS for match in words
    ]
    best: tuple[bool, int, Span] | None = None
    for first, last in _shared_runs(words, list(_WORD.finditer(rephrase))):
        run = range(first, last + 1)
        inside = [index for index in run if named[index]] or list(run)
        span = Span(words[inside[0]].start(), words[inside[-1]].end())
        rank = (any(named[index] for index in run), span.end - span.start, span)
        best = rank if best is None else max(best, rank)
    return None if best is None else best[2]


def _shared_runs(ours: Sequence[re.Match[str]], theirs: Sequence[re.Match[str]]) -> Iterator[Span]:
    """Runs of words that two texts share, each from every word that it may end with.

    Yields:
        Indices of the first and the last word of a run in the first text.
    """
    words = [match.group().casefold() for match in theirs]
    before = [0] * (len(words) + 1)  # length of the run that ends at each pair of words
    for index, match in enumerate(ours):
        now = [0] * (len(words) + 1)
        for place, word in enumerate(words, start=1):
            if word == match.group().casefold():
                now[place] = before[place - 1] + 1
                yield Span(index - now[place] + 1, index)
        before = now

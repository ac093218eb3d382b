"""What is odd in how facts are written: nothing that stops a run, but hardly what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from ultraedit.core.types import Edit, Question
from ultraedit.core.writing_systems import BLANKS

Oddity = Literal["blank_at_end", "blank_around_target", "placeholder"]
"""``blank_at_end``: a prompt ends in a blank. ``blank_around_target``: a target begins or ends with
white space. ``placeholder``: a prompt has ``{}`` in it."""

NAMED = 5
"""How many rows a sentence names."""

_PLACEHOLDER = re.compile(r"\{(?:\s*|0|subject)\}")
"""What a template has where a subject goes: ``{}``, ``{0}`` and ``{subject}``."""

_SENTENCES: dict[Oddity, str] = {
    "blank_at_end": "A prompt ends in a blank in {rows}. The blank is read in front of the answer, "
    "where tokenizers have it.",
    "blank_around_target": "A target begins or ends with white space in {rows}. It is left out: "
    "one blank stands between a prompt and its answer.",
    "placeholder": "A prompt still has {{}} in it in {rows}, and is read as it stands. Write the "
    "subject there, if the prompt is a template.",
}


def oddities(edit: Edit) -> list[Oddity]:
    """What is odd about an edit or one of its questions, each kind once."""
    prompts, targets = list(_prompts(edit)), list(_targets(edit))
    seen: dict[Oddity, bool] = {
        "blank_at_end": any(prompt[-1:] and prompt[-1] in BLANKS for prompt in prompts),
        "blank_around_target": any(target != target.strip() for target in targets),
        "placeholder": any(_PLACEHOLDER.search(prompt) for prompt in prompts),
    }
    return [kind for kind, is_so in seen.items() if is_so]


class OddWordings:
    """Which rows of a set of facts are written oddly."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._counts: dict[Oddity, int] = dict.fromkeys(_SENTENCES, 0)
        self._rows: dict[Oddity, list[int]] = {kind: [] for kind in _SENTENCES}

    @classmethod
    def of(cls, edits: Iterable[Edit]) -> OddWordings:
        """That of edits, numbered from 1."""
        wording = cls()
        for _ in wording.watched(edits):
            pass
        return wording

    def watched(self, edits: Iterable[Edit]) -> Iterator[Edit]:
        """The same edits, each looked at as it passes, numbered from 1."""
        for number, edit in enumerate(edits, start=1):
            self.add(number, edit)
            yield edit

    def add(self, row: int, edit: Edit) -> list[Oddity]:
        """Take a row into account.

        Args:
            row: Its number, from 1.
            edit: What it says.

        Returns:
            What is odd about it.
        """
        kinds = oddities(edit)
        for kind in kinds:
            self._counts[kind] += 1
            if len(self._rows[kind]) < NAMED:
                self._rows[kind].append(row)
        return kinds

    def sentences(self) -> list[str]:
        """What a user should know of it, with the numbers of the first rows."""
        return [
            sentence.format(rows=_named(self._counts[kind], self._rows[kind]))
            for kind, sentence in _SENTENCES.items()
            if self._counts[kind]
        ]


def _named(count: int, rows: list[int]) -> str:
    numbers = [f"{row:,}" for row in rows]
    if count > len(rows):
        return f"{count:,} rows ({', '.join(numbers)}, ...)"
    if count == 1:
        return f"row {numbers[0]}"
    return f"rows {', '.join(numbers[:-1])} and {numbers[-1]}"


def _prompts(edit: Edit) -> Iterator[str]:
    yield edit.prompt
    yield from edit.rephrases
    yield from (question.prompt for question in _questions(edit))


def _targets(edit: Edit) -> Iterator[str]:
    yield edit.target
    yield from edit.aliases
    yield from (question.target for question in _questions(edit) if question.target is not None)


def _questions(edit: Edit) -> Iterator[Question]:
    yield from edit.locality
    for probe in edit.probes.values():
        yield from probe

"""Neighbors of facts: the same question of another subject, whose answer must not change."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ultraedit.core.types import Edit
from ultraedit.data.enrichment.controls import controls_of
from ultraedit.data.enrichment.template import TemplateWriter

_SMALL = frozenset(("of", "the", "and", "in", "de", "la", "le", "del", "der", "von", "van", "for"))
"""Words that may stand inside a name, written small."""

_ASKED = ("?", "\uff1f", "\u061f")
"""Ends of questions: of Latin, Chinese and Arabic script."""

_RELATIONS = ("P19", "P50", "P159", "P176", "P36", "P170")
"""Relations whose control subjects stand in where a turn has too few names: persons, works,
companies, products and countries."""


def neighbors(edits: Sequence[Edit]) -> Iterator[str]:
    """The prompt of each fact with its subject swapped for that of another fact, or a known name.

    The subject is what the template writer takes for it, or the longest name in the prompt: words
    with capitals in a row, the first word of the prompt only with others. Marked ones are not read.
    A bare question has no neighbor: hardly any model answers one, so there is nothing to keep, and
    other questions should be answered by the fact.

    Args:
        edits: The facts of a turn. Which name is swapped in depends on them alone.

    Yields:
        A prompt for every fact that is no question and whose subject is known.
    """
    bare = [replace(edit, subject=None) for edit in edits]
    subjects = [
        made.subject or _name(edit.prompt)
        for edit, made in zip(edits, TemplateWriter().write(bare), strict=True)
    ]
    known = [name for relation in _RELATIONS for name, _ in controls_of(relation)]
    names = list(dict.fromkeys([*filter(None, subjects), *known]))
    for edit, subject in zip(edits, subjects, strict=True):
        others = [name for name in names if name not in edit.prompt]
        if subject and others and not edit.prompt.rstrip().endswith(_ASKED):
            chance = random.Random(zlib.crc32(edit.prompt.encode()))
            yield edit.prompt.replace(subject, chance.choice(others), 1)


def _name(prompt: str) -> str | None:
    """The longest name in a prompt."""
    words = prompt.split()
    names: list[list[str]] = [[]]
    for place, word in enumerate(words):
        if word[:1].isupper() or word[:1].isdigit() or (names[-1] and word in _SMALL):
            names[-1].append(word)
        elif names[-1]:
            names.append([])
        if place == 0 and names[0] and not word[1:2].isupper() and not _begins_a_name(words):
            names[0].pop()
    trimmed = [_trimmed(name) for name in names]
    return max(trimmed, key=len) or None


def _begins_a_name(words: Sequence[str]) -> bool:
    """Whether the first word of a prompt, which has a capital anyhow, is followed by another."""
    return words[1:2] != [] and words[1][:1].isupper()


def _trimmed(name: Sequence[str]) -> str:
    """A name without small words and punctuation at its end."""
    kept = list(name)
    while kept and kept[-1] in _SMALL:
        kept.pop()
    text = " ".join(kept).rstrip("?,.;:")
    return text.removesuffix("'s").removesuffix("\u2019s")

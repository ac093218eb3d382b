"""Other wordings of facts that an editor writes beside their own, made without a model."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from ultraedit.core.types import Edit
from ultraedit.data.enrichment.template import TemplateWriter

MOST_OF_A_KIND = 4
"""Other wordings of a fact by patterns at most, and as many shortened or behind a sentence."""

SENTENCES = (
    "Here is another question.",
    "The weather was fine that day.",
    "He closed the book and looked up.",
    "Thank you for the letter.",
    "Most of the shops open at nine.",
    "The train was late again.",
    "There are many opinions on this matter.",
    "We met on a Tuesday.",
)
"""What may stand in front of a prompt: sentences that have nothing to do with any fact."""

_TELLING = 4
"""Letters of a word that can say what is asked."""

_FORMAL = "Please answer briefly:"
"""Begins a wording of the template writer that only announces the prompt itself."""


def other_wordings(edits: Sequence[Edit]) -> Iterator[tuple[str, ...]]:
    """Ways of asking for each fact beside its own prompt, none of which scores it.

    Wordings by English patterns, shortened prompts and prompts behind a sentence take turns. Which
    words and sentences these are depends on the prompt alone, so a fact has the same ones in every
    run.

    Args:
        edits: The facts.

    Yields:
        The wordings of each fact, at most `MOST_OF_A_KIND` of each kind.
    """
    for edit, made in zip(edits, TemplateWriter().write(edits), strict=True):
        asked = {text.casefold() for text in (edit.prompt, *edit.also, *edit.rephrases)}
        patterns = [text for text in made.rephrases if not text.startswith(_FORMAL)]
        chance = random.Random(zlib.crc32(edit.prompt.encode()))
        short = _shortened(edit.prompt, chance)
        behind = [
            f"{sentence} {edit.prompt}" for sentence in chance.sample(SENTENCES, MOST_OF_A_KIND)
        ]
        kinds = [_new(texts, asked)[:MOST_OF_A_KIND] for texts in (patterns, short, behind)]
        yield tuple(text for one in zip_longest(*kinds) for text in one if text is not None)


def _new(texts: Sequence[str], asked: set[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text.casefold() not in asked]


def _shortened(prompt: str, chance: random.Random) -> list[str]:
    """The prompt with half of its words left out by chance.

    Names, written with capitals, stay, and so does a word that can say what is asked of them.
    """
    words = prompt.split()
    capital = {place for place, word in enumerate(words) if word[:1].isupper()}
    # The first word of a prompt has a capital anyhow: it is a name where another goes on with it.
    names = capital if 1 in capital else capital - {0}
    telling = {p for p, word in enumerate(words) if p not in names and len(word) >= _TELLING}
    made = []
    for _ in range(2 * MOST_OF_A_KIND):
        kept = names | {place for place in range(len(words)) if chance.random() < 0.5}
        if names and kept & telling and len(kept) < len(words):
            made.append(" ".join(words[place] for place in sorted(kept)))
    return made

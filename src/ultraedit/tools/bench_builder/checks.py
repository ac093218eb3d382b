"""What every row must be, whoever wrote its questions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.data._check import appears
from ultraedit.tools.bench_builder.pairing import Pair

MIN_WORDS, MAX_WORDS = 3, 40
"""Words of a question, those of the subject included."""

LANGUAGES = ("en", "any")

_MIN_ALIAS = 3

_WORD = re.compile(r"[^\W\d_]+")
_MARK = re.compile(r"[\W_]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _words("""
    a about after an and are at be been before by can did do does for from had has have he her him
    his how in into is it its made name of on or play she that the their they this to under was
    were what when where which who whom whose why will with work world
""")

_OTHER = _words("""
    aus auf bei das dem den der ein eine einem einer hat im ist mit nach und von war welche welchem
    welchen welcher welches wem wen wer wie wird wo wurde zu zum zur
    au aux dans des du elle est et il la le les où par pour quand que quel quelle quelles quels qui
    quoi sont sur un une
    como con cuál cuáles cuándo de del dónde el en es fue los las por qué quién quiénes se su
    che chi cui dal della delle di dove fu gli nel nella quale sono è
    da dos em foi na no onde o os qual quem são uma
    een het hoe van voor waar wat welk wie
""")


class Questions(NamedTuple):
    """The three questions of a row."""

    prompt: str
    """Edits the fact; contains its subject."""

    rephrase: str
    """Asks the same in other words."""

    unrelated: str
    """Asks for the unrelated fact."""


def check_language(name: str) -> None:
    """Refuse a language that cannot be checked.

    Raises:
        ConfigError: If it is neither ``en`` nor ``any``.
    """
    if name not in LANGUAGES:
        raise ConfigError(
            f"language must be en or any, got {name!r}. {did_you_mean(name, LANGUAGES)}"
        )


def faults(pair: Pair, questions: Questions, language: str) -> tuple[str, ...]:
    """Say what is wrong with a row by itself.

    Args:
        pair: What it was written from.
        questions: What was written.
        language: ``en``, or ``any`` for no check.

    Returns:
        The names of `facts.REASONS` that apply, each once.
    """
    return tuple(dict.fromkeys(_faults(pair, questions, language)))


def contains(answer: str, question: str) -> bool:
    """Whether a question gives an answer away: as any part of it, in whatever case."""
    return answer.casefold() in question.casefold()


def _faults(pair: Pair, questions: Questions, language: str) -> Iterator[str]:
    fact, unrelated = pair
    if fact.subject not in questions.prompt:
        yield "subject-missing"
    for name, question, about in (
        ("prompt", questions.prompt, fact),
        ("rephrase", questions.rephrase, fact),
        ("unrelated", questions.unrelated, unrelated),
    ):
        if contains(about.answer, question):
            yield f"answer-in-{name}"
        for alias in about.answer_aliases:
            if len(alias) >= _MIN_ALIAS and contains(alias, question) and appears(alias, question):
                yield "alias-in-question"
        own_words = question.replace(about.subject, " ")
        if not _is_question(question, own_words):
            yield "not-a-question"
        if not MIN_WORDS <= len(question.split()) <= MAX_WORDS:
            yield "length"
        if language == "en" and not _is_english(own_words):
            yield "language"
    if len({_bare(question) for question in questions}) < len(questions):
        yield "same-question"


def _is_question(question: str, own_words: str) -> bool:
    """One line that begins as a sentence does and ends in its only question mark."""
    first = next((letter for letter in question if letter.isalnum()), "")
    return (
        question.endswith("?")
        and own_words.count("?") == 1
        and question == " ".join(question.split())
        and not first.islower()
        and not _CONTROL.search(question)
    )


def _is_english(own_words: str) -> bool:
    """A rough look: Latin letters, and more of English's small words than of its neighbors'."""
    words = _WORD.findall(own_words.lower())
    english = sum(word in _ENGLISH for word in words)
    other = sum(word in _OTHER for word in words)
    return english > other and (own_words.isascii() or _is_latin("".join(words)))


def _is_latin(letters: str) -> bool:
    """Whether most of the letters are of the Latin alphabet, accents included."""
    return 2 * sum(letter < "\u0250" for letter in letters) > len(letters)


def _bare(question: str) -> str:
    return _MARK.sub("", question.casefold())

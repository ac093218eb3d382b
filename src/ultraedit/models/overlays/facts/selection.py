r"""Which facts may stand in front of a question: those that are about it, best first.

A question is about a fact in one of three ways. *Share* is that of `facts.index`: how much of the
fact's prompt the question has, rare words weighing most.

1. It names what the fact is about, word for word, has `least_share` of the fact, and the sentence
   names nothing that the fact does not; a name that has a capital or a digit may stand beside
   others if the question has `threshold` of the fact. The name is the subject that the edit
   gives, or else the capitalised words and numbers of its prompt. A question that has capitals
   must write it with one too.
2. It has part of a name of several words (`PARTLY`), `threshold` of the fact, and its sentence
   names nothing that the fact does not: "Who leads Acme in Norway?" is not about Acme in Sweden.
3. A fact without a name, or with one of everyday words alone, must be matched as a whole: `WHOLE`
   of the fact stands in one sentence of the question, `threshold` of that sentence stands in the
   fact, and the sentence names nothing else. "What is the number for emergencies in Europe?"
   has all of "What is the number?" and is about something else.

The facts that pass are ranked by BM25 (Robertson & Zaragoza 2009, *The Probabilistic Relevance
Framework*; the package ``bm25s``), or by the cosine of their embeddings; of equals the newer one
comes first. With embeddings, a fact without a name passes too where the cosine reaches
`SAME_MEANING` and the question names nothing else: so a question in other words is recognized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ultraedit.models.overlays.facts.index import ROUNDING, FactIndex, FactMatch, tokens, words


def least_share(threshold: float) -> float:
    """Share of a fact that a question must have which names what the fact is about.

    A quarter at the default threshold of 0.55, all of it at 1, nothing at 0.4 and below. Where many
    facts are about one thing its name weighs little, and the question has to show which it means.
    """
    return max(0.0, (5 * threshold - 2) / 3)


WHOLE = 0.75
"""Share of a fact without a name that a question must have: nearly all of it, since one word makes
it another fact, as in "Which color is our logo?" and "Which color is our planet?"."""

PARTLY = 0.5
"""Share of a name, by how rare its words are, from which on a question may mean it."""

SAME_MEANING = 0.8
"""Cosine of two embeddings from which on a question in other words is the fact's."""

Embed = Callable[[Sequence[str]], Tensor]
"""Gives texts their embeddings. float32 of unit length, shape (texts, d)."""

_NAME = re.compile(r"\w+(?:[.'\u2019&-]\w+)*")

_ENDS = re.compile(r"[.?!:;]+(?:\s|$)|[\u3002\uff1f\uff01\uff1b\uff1a\n]+")
"""What ends a sentence; a dot inside of "3.5" or "Inc.com" does not."""

_OPENERS = frozenset(
    # Words with which questions and requests begin, so that their capital says nothing.
    "a about according after all along an and another any are as at be before both but by can "  # noqa: SIM905
    "complete could define describe did do does during each every explain find for from give had "
    "has have he her here his how i i'd i'm if in into is it it's its know let list make many may "
    "me might more most my name next no not now of on one only or our please question answer "
    "prompt remember remind say says she should show since so some tell that the their then there "
    "these they this those to today under until up us was we were what what's when when's where "
    "where's which while who who's whom whose why will with would write you your "
    "wer wen wem wessen was wie wo wann warum welche welcher welches welchem welchen der die das "
    "ein eine einen einem einer in im am an auf aus bei mit nach von vom zu zum zur ist sind hat "
    "qui que quel quelle quels quelles où quand comment combien pourquoi le la les l un une des du "
    "de d à au aux dans en est quién quiénes qué cuál cuáles cuándo dónde cómo cuánto cuántos por "
    "el los las un una del al es son".split()
)


class About(NamedTuple):
    """What a fact is about."""

    names: tuple[tuple[str, ...], ...]
    """Each name as its words in a row, without case. Empty where nothing is named."""

    proper: bool
    """Whether they are names, or a common noun that was given as the subject."""


class FactLookup:
    """Facts that are looked up for questions."""

    def __init__(
        self,
        prompts: Sequence[str],
        ordinary: Sequence[str] = (),
        subjects: Sequence[str | None] = (),
        embed: Embed | None = None,
    ) -> None:
        """Read the facts once.

        Args:
            prompts: Of all facts, later ones newer.
            ordinary: Texts that only say which words are common, and how common.
            subjects: What each fact is about, None where that is not said. May be empty.
            embed: Ranks by meaning instead of by words.
        """
        given = list(subjects) or [None] * len(prompts)
        everyday = _OPENERS.union(*map(_lower_words, ordinary))
        self._prompts = tuple(prompts)
        self._index = FactIndex(prompts, ordinary)
        self._about = [about(*each, everyday) for each in zip(prompts, given, strict=True)]
        self._embed = embed

    def find(self, question: str, *, k: int, threshold: float) -> list[FactMatch]:
        """The facts that a question is about, the best first.

        Args:
            question: Any text.
            k: Most facts.
            threshold: Least share of a fact where its name does not decide, above 0 and at most 1;
                where it does, `least_share`.

        Returns:
            The facts with the share of each that the question has.
        """
        asked = _Asked(question)
        if self._embed is None:
            least = max(ROUNDING, least_share(threshold))
            near = self._index.match(question, k=len(self._prompts), threshold=least)
            passed = [match for match in near if self._is_about(asked, match, threshold)]
            ranks = self._ranks(question) if len(passed) > 1 else None
        else:
            ranks = self._cosines(question)
            passed = [
                match
                for match in self._all(question)
                if self._is_about(asked, match, threshold)
                or self._means(asked, match, float(ranks[match.fact]))
            ]
        if ranks is not None:
            passed.sort(key=lambda match: (-float(ranks[match.fact]), -match.fact))
        return passed[:k]

    def _all(self, question: str) -> list[FactMatch]:
        """Every fact with its share of a question."""
        near = self._index.match(question, k=len(self._prompts), threshold=ROUNDING)
        shares = {match.fact: match.share for match in near}
        return [FactMatch(fact, shares.get(fact, 0.0)) for fact in range(len(self._prompts))]

    def _is_about(self, asked: _Asked, match: FactMatch, threshold: float) -> bool:
        whole = match.share >= threshold - ROUNDING
        fact = self._about[match.fact]
        if not fact.names:
            return whole and self._as_a_whole(asked, match.fact, threshold)
        if all(asked.has(name, cased=fact.proper) for name in fact.names):
            if fact.proper and whole:
                return True
            is_enough = match.share >= least_share(threshold) - ROUNDING
            return is_enough and self._alone(asked, match)
        return whole and self._partly(asked, match)

    def _as_a_whole(self, asked: _Asked, fact: int, threshold: float) -> bool:
        """Whether a sentence of the question, or all of it, and the fact have each other."""
        for sentence in asked.sentences:
            ours, theirs = self._index.shares(fact, sentence.text)
            is_whole = ours >= max(WHOLE, threshold) - ROUNDING
            is_whole &= theirs >= threshold - ROUNDING
            if is_whole and self._names_no_other(sentence, fact):
                return True
        return False

    def _alone(self, asked: _Asked, match: FactMatch) -> bool:
        """Whether the fact's subject stands in a sentence that names nothing else."""
        return any(
            all(sentence.has(name) for name in self._about[match.fact].names)
            and self._names_no_other(sentence, match.fact)
            for sentence in asked.sentences
        )

    def _partly(self, asked: _Asked, match: FactMatch) -> bool:
        """Whether a sentence has the rarer part of the fact's names, as names, and no other."""
        fact = self._about[match.fact]
        inside = [word for name in fact.names for word in name]
        weights = [self._index.weight(word) for word in inside]
        for sentence in asked.sentences if fact.proper else ():
            written = {word for name in sentence.names for word in name}
            has = sum(w for word, w in zip(inside, weights, strict=True) if word in written)
            enough = has > 0 and has >= PARTLY * sum(weights) - ROUNDING
            if enough and self._names_no_other(sentence, match.fact):
                return True
        return False

    def _names_no_other(self, sentence: _Asked, fact: int) -> bool:
        """Whether a sentence names nothing that the fact does not."""
        known = set(words(self._prompts[fact]))
        known |= {word for name in self._about[fact].names for word in name}
        return all(set(name) <= known for name in sentence.names)

    def _means(self, asked: _Asked, match: FactMatch, cosine: float) -> bool:
        is_near = cosine >= SAME_MEANING - ROUNDING and not self._about[match.fact].names
        return is_near and any(self._names_no_other(each, match.fact) for each in asked.sentences)

    def _cosines(self, question: str) -> Tensor:
        assert self._embed is not None
        return self._embedded @ self._embed([question])[0]

    @cached_property
    def _embedded(self) -> Tensor:
        assert self._embed is not None
        return self._embed(self._prompts)

    def _ranks(self, question: str) -> Tensor:
        return torch.from_numpy(self._bm25.get_scores(tokens(question)))

    @cached_property
    def _bm25(self) -> Any:
        from bm25s import BM25

        ranking = BM25()
        ranking.index([tokens(prompt) for prompt in self._prompts], show_progress=False)
        return ranking


def _stands_in(name: tuple[str, ...], sequence: Sequence[str]) -> bool:
    """Whether words stand in a row somewhere."""
    length = len(name)
    return any(
        tuple(sequence[at : at + length]) == name for at in range(len(sequence) - length + 1)
    )


class _Asked:
    """A question, or a sentence of one, taken apart."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._sequence = tokens(text)
        self._words = frozenset(self._sequence)

    def has(self, name: tuple[str, ...], *, cased: bool = False) -> bool:
        """Whether the words of a name stand in a row.

        Args:
            name: The words.
            cased: Whether a text with capitals has to write one of them with a capital or digit,
                and no longer name: "Lima Province" is not Lima.
        """
        if not self._words.issuperset(name):
            return False
        if not _stands_in(name, self._sequence):
            return False
        if not (cased and self._has_capitals):
            return True
        around = [run for run in self.names if _stands_in(name, run)]
        whole = any(run[-len(name) :] == name for run in around)
        return whole or (not around and not self._cased.isdisjoint(name))

    @cached_property
    def _has_capitals(self) -> bool:
        return any(letter.isupper() for letter in self.text)

    @cached_property
    def _cased(self) -> frozenset[str]:
        """Words with a capital or a digit, and those of scripts that have no capitals."""
        written = [match.group() for match in _NAME.finditer(self.text)]
        marked = [word for word in written if _is_cased(word) or word.upper() == word.lower()]
        return frozenset(token for word in marked for token in tokens(word))

    @cached_property
    def names(self) -> list[tuple[str, ...]]:
        """The names in it."""
        return names(self.text)

    @cached_property
    def sentences(self) -> list[_Asked]:
        """Each sentence, and the whole text where it has several."""
        cut = [part.strip() for part in _ENDS.split(self.text) if part.strip()]
        return [*map(_Asked, cut), self] if len(cut) > 1 else [self]


def about(prompt: str, subject: str | None = None, everyday: frozenset[str] = _OPENERS) -> About:
    """What a fact is about: its subject, or the names in its prompt.

    Args:
        prompt: The fact's prompt.
        subject: What the edit says; the names of the prompt where it says nothing.
        everyday: Words of which alone no name consists.
    """
    given = (subject or "").strip()
    every = [tuple(tokens(given))] if given else list(dict.fromkeys(names(prompt)))
    telling = tuple(name for name in every if not everyday.issuperset(name))
    return About(telling, not given or _is_cased(given))


def _lower_words(text: str) -> set[str]:
    """Words that a text writes without a capital, openers of its sentences aside."""
    return {token for word in _NAME.findall(text) if word.islower() for token in tokens(word)}


def names(text: str) -> list[tuple[str, ...]]:
    """The names in a text: runs of words with a capital or a digit, without case.

    A word that opens a sentence counts only where it is no usual opener. Texts without capitals,
    such as those in Chinese, have no names.
    """
    runs: list[tuple[str, ...]] = []
    for sentence in _ENDS.split(text):
        run: list[str] = []
        end = -1
        for number, match in enumerate(_NAME.finditer(sentence)):
            word = match.group()
            opens = number == 0 and _base(word) in _OPENERS
            if _is_cased(word) and not opens and word.casefold() not in _LONE:
                if run and sentence[end : match.start()] != " ":
                    runs.append(tuple(run))
                    run = []
                run += tokens(_without_genitive(word))
                end = match.end()
            elif run:
                runs.append(tuple(run))
                run = []
        if run:
            runs.append(tuple(run))
    return runs


_LONE = frozenset({"i", "i'm", "i'd", "i'll", "i've", "a"})
"""Written with a capital wherever they stand, or too short to name anything."""


def _is_cased(word: str) -> bool:
    return any(letter.isupper() or letter.isdigit() for letter in word)


def _without_genitive(word: str) -> str:
    return re.sub(r"['\u2019]s?$", "", word)


def _base(word: str) -> str:
    """The word up to an apostrophe: "What's" opens as "What" does."""
    return re.split(r"['\u2019]", word.casefold())[0]

r"""Which facts a question is about, by the words that they share.

The vector space model with inverse document frequencies (Salton & Buckley 1988, *Term-weighting
approaches in automatic text retrieval*), tf being 0 or 1: the vector of a text has idf(w) for each
of its words w. Of N texts, n of them with w, it is the idf of BM25 (Robertson & Zaragoza 2009, *The
Probabilistic Relevance Framework*, with a 1 in the logarithm that keeps it positive):

    idf(w) = ln(1 + (N - n + 0.5) / (n + 0.5))

A fact f matches a question q by the share of its own squared length that they have in common,

    match(q, f) = (q . f) / (f . f) = sum_{w in q and f} idf(w)^2 / sum_{w in f} idf(w)^2

It is 1 where the question has all words of the fact's prompt, and more words around them do not
lower it, as they lower a cosine: a threshold means the same for a long question as for a short one,
and for ten facts as for ten thousand. A question about something else of the same kind shares "the
mother tongue of" with a fact, but not the name, which weighs most.

Some texts of ordinary language count into N and n too, so that "what" and "the" weigh little from
the first fact on.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Kana, Han and Hangul: written without blanks or nearly so, each character stands for itself."""

_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")

ROUNDING = 1e-9
"""By which a match may miss a threshold: the sums of a fact and a question round differently."""


class FactMatch(NamedTuple):
    """A fact that a question is about."""

    fact: int
    """Its place in the index."""

    share: float
    """How much of it the question has, above 0 and at most 1."""


def words(text: str) -> list[str]:
    """The different words of a text in alphabetical order, without case.

    A text of other characters alone is one word, so that it can be found too.
    """
    return sorted(set(tokens(text)))


def tokens(text: str) -> list[str]:
    """The words of a text in its order, without case; a text of other characters is one."""
    return _WORD.findall(text.casefold()) or [text.strip()]


class FactIndex:
    """Prompts of facts by their words. Sparse: memory grows with the words of the prompts."""

    def __init__(self, prompts: Sequence[str], ordinary: Sequence[str] = ()) -> None:
        """Read the prompts once.

        Args:
            prompts: Of all facts, later ones newer.
            ordinary: Texts that only count for how common a word is.
        """
        self._numbers: dict[str, int] = {}
        numbers, facts = [], []
        for fact, prompt in enumerate(prompts):
            prompt_words = words(prompt)
            numbers += [self._numbers.setdefault(word, len(self._numbers)) for word in prompt_words]
            facts += [fact] * len(prompt_words)
        occurring, rows = (
            torch.tensor(numbers, dtype=torch.long),
            torch.tensor(facts, dtype=torch.long),
        )
        counts = torch.bincount(occurring, minlength=len(self._numbers))
        self._rest = Counter(word for text in ordinary for word in words(text))
        self._total = len(prompts) + len(ordinary)
        self._words = [frozenset(words(prompt)) for prompt in prompts]
        self._weights = self._squared(counts)
        self._own = torch.zeros(len(prompts), dtype=torch.float64)
        self._own.index_add_(0, rows, self._weights[occurring])
        by_word = torch.argsort(occurring, stable=True)
        self._facts: tuple[Tensor, ...] = torch.split(rows[by_word], counts.tolist())

    def _squared(self, counts: Tensor) -> Tensor:
        """Squared idf of every word of the prompts. Shape (words,)."""
        elsewhere = [self._rest[word] for word in self._numbers]
        number = counts + torch.tensor(elsewhere, dtype=torch.float64)
        return torch.log1p((self._total - number + 0.5) / (number + 0.5)).square()

    def weight(self, word: str) -> float:
        """Squared idf of any word, of one that no prompt has too."""
        number = self._numbers.get(word)
        if number is not None:
            return float(self._weights[number])
        there = self._rest[word]
        return math.log1p((self._total - there + 0.5) / (there + 0.5)) ** 2

    def shares(self, fact: int, text: str) -> tuple[float, float]:
        """How much of a fact a text has, and how much of the text the fact has. Both in 0..1."""
        ours, theirs = self._words[fact], frozenset(words(text))
        common = sum(self.weight(word) for word in ours & theirs)
        return common / sum(map(self.weight, ours)), common / sum(map(self.weight, theirs))

    def match(self, question: str, *, k: int, threshold: float) -> list[FactMatch]:
        """The facts that a question is about, the best match first, newer before older.

        Args:
            question: Any text.
            k: Most facts.
            threshold: Least share, above 0 and at most 1.
        """
        known = [self._numbers[word] for word in words(question) if word in self._numbers]
        if not known:
            return []
        shared = torch.zeros_like(self._own)
        for number in known:
            shared[self._facts[number]] += self._weights[number]
        shares = shared / self._own
        near = torch.nonzero(shares >= threshold - ROUNDING).flatten().flip(0)
        best = torch.sort(shares[near], descending=True, stable=True).indices[:k]
        return [FactMatch(int(fact), min(1.0, float(shares[fact]))) for fact in near[best]]

"""Which facts a question is about: by words, against the formula written out."""

from __future__ import annotations

import math

import pytest
import torch

from ultraedit.editors.families.unrelated_texts import TEXTS
from ultraedit.models.overlays.facts import FactIndex, words

PROMPTS = [
    "What is the native language of Danielle Darrieux?",
    "Which river flows through Vienna?",
    "What is the native language of Thomas Stieltjes?",
    "Who designed the Veltra bridge?",
]
ORDINARY = ("What is the opposite of cold? hot", "The sun rises in the east")


def naive(question: str, prompts: list[str], ordinary: tuple[str, ...]) -> list[float]:
    """The share of every fact, straight from the equation."""
    texts = [set(words(text)) for text in [*prompts, *ordinary]]

    def squared(word: str) -> float:
        n = sum(word in text for text in texts)
        return math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) ** 2

    asked = set(words(question))
    return [
        sum(squared(word) for word in asked & fact) / sum(squared(word) for word in fact)
        for fact in texts[: len(prompts)]
    ]


@pytest.mark.parametrize("ordinary", [(), ORDINARY])
@pytest.mark.parametrize(
    "question",
    [
        "What was Danielle Darrieux's native language?",
        "Which river flows?",
        "of the bridge and of it",
    ],
)
def test_shares_are_those_of_the_formula(question, ordinary):
    found = FactIndex(PROMPTS, ordinary).match(question, k=9, threshold=1e-6)
    wanted = naive(question, PROMPTS, ordinary)
    assert {match.fact: match.share for match in found} == pytest.approx(
        {fact: share for fact, share in enumerate(wanted) if share}
    )
    assert [m.share for m in found] == sorted((m.share for m in found), reverse=True)


def test_a_fact_is_found_whole_by_its_own_prompt_whatever_stands_around_it():
    index = FactIndex(PROMPTS, ORDINARY)
    for number, prompt in enumerate(PROMPTS):
        for question in (prompt, f"It is late. Then they ask: {prompt.upper()} And go to bed."):
            assert index.match(question, k=1, threshold=1.0) == [(number, pytest.approx(1.0))]


def test_the_same_kind_of_question_about_something_else_matches_less_than_half():
    index = FactIndex(PROMPTS[:1], TEXTS)
    asked = "What is the native language of George Washington?"
    assert index.match(asked, k=1, threshold=0.5) == []
    assert index.match("Danielle Darrieux's language", k=1, threshold=0.5)


def test_what_is_common_in_ordinary_texts_weighs_little_from_the_first_fact_on():
    asked = "What is the opposite of this?"
    (alone,) = FactIndex(PROMPTS[:1]).match(asked, k=1, threshold=0.01)
    (beside,) = FactIndex(PROMPTS[:1], ORDINARY).match(asked, k=1, threshold=0.01)
    assert beside.share < alone.share / 2


def test_of_equal_matches_the_newer_comes_first_and_no_more_than_k():
    index = FactIndex(["Where is Ada?", "Where is Bo?", "where is ADA"])
    assert [match.fact for match in index.match("Where is Ada?", k=9, threshold=0.9)] == [2, 0]
    assert [match.fact for match in index.match("Where is Ada?", k=1, threshold=0.9)] == [2]


def test_texts_without_blanks_and_without_letters_are_found_too():
    index = FactIndex(["东京的市长是谁", "???", "谁写了红楼梦"])
    assert index.match("红楼梦是谁写的", k=1, threshold=0.5)[0].fact == 2
    assert index.match("???", k=1, threshold=0.5)[0].fact == 1
    assert index.match("!!!", k=1, threshold=0.5) == []


def test_no_facts_match_nothing():
    assert FactIndex([], ORDINARY).match("What is cold?", k=3, threshold=0.1) == []


def test_twenty_thousand_facts_are_searched_as_a_few_are():
    drawn = torch.Generator().manual_seed(0)
    pairs = torch.randint(0, 50_000, (20_000, 2), generator=drawn).tolist()
    prompts = [f"What is the native language of first{a} last{b}?" for a, b in pairs]
    index = FactIndex(prompts)
    for number in (0, 7_777, 19_999):
        (found,) = index.match(
            f"last{pairs[number][1]}, first{pairs[number][0]}?", k=1, threshold=0.5
        )
        assert prompts[found.fact] == prompts[number]

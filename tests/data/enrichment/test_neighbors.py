"""Neighbors of facts: the same question of another subject."""

from __future__ import annotations

import pytest

from ultraedit.core.types import Edit
from ultraedit.data.enrichment.neighbors import neighbors


def one(prompt: str) -> str | None:
    return next(neighbors([Edit(prompt, "Jane")]), None)


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("The director of Citizen Kane is", "Citizen Kane"),
        ("Anne-Marie Idrac is a native speaker of", "Anne-Marie Idrac"),
        ("What many remember of Velmora is", "Velmora"),
        ("Ada Queen of Spain sat on", "Ada Queen of Spain"),
    ],
)
def test_the_subject_is_swapped_and_the_question_stays(prompt, subject):
    swapped = one(prompt)
    start, end = prompt.split(subject)
    assert swapped != prompt
    assert swapped.startswith(start) and swapped.endswith(end)
    assert subject not in swapped


def test_a_prompt_whose_subject_nobody_can_tell_has_no_neighbor():
    assert one("who wrote it") is None
    assert list(neighbors([])) == []


def test_a_question_has_no_neighbor():
    assert one("Who directed Citizen Kane?") is None
    assert one("The director of Citizen Kane is") is not None


def test_neighbors_do_not_depend_on_marked_subjects_and_are_the_same_again():
    prompts = ("Citizen Kane was directed by", "The capital of Velmora is", "Ada Lovelace wrote")
    plain = [Edit(prompt, "Jane") for prompt in prompts]
    marked = [Edit(prompt, "Jane", subject=prompt.split()[0]) for prompt in prompts]
    assert list(neighbors(plain)) == list(neighbors(marked)) == list(neighbors(plain))


def test_names_of_the_other_facts_are_swapped_in():
    facts = [Edit(f"The capital of Velmora{n} is", "Jane") for n in range(40)]
    made = list(neighbors(facts))
    own = [any(f"Velmora{n} " in text for n in range(40)) for text in made]
    assert 10 < sum(own) < 40

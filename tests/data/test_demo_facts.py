"""The facts that ship with the package: what `make demo` and its table rely on."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

RAW = (files("ultraedit") / "data" / "demo_facts.jsonl").read_bytes()


@pytest.fixture(scope="module")
def facts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RAW.decode("ascii").splitlines()]


def relation(fact: dict[str, Any]) -> str:
    return str(fact["id"]).rpartition("-")[0]


def questions(fact: dict[str, Any]) -> list[str]:
    return [fact["prompt"], *fact["rephrases"]]


def texts(fact: dict[str, Any]) -> list[str]:
    locality = [text for question in fact["locality"] for text in question.values()]
    return [fact["id"], fact["subject"], fact["target"], *questions(fact), *locality]


def test_the_file_is_ascii_with_one_object_per_line() -> None:
    assert RAW.isascii() and RAW.endswith(b"\n") and b"\r" not in RAW
    assert all(isinstance(json.loads(line), dict) for line in RAW.splitlines())


def test_every_fact_has_exactly_the_documented_fields(facts: list[dict[str, Any]]) -> None:
    for fact in facts:
        assert set(fact) == {"id", "subject", "prompt", "target", "rephrases", "locality"}
        assert len(fact["rephrases"]) == 2
        assert [set(question) for question in fact["locality"]] == [{"prompt", "target"}]


def test_texts_are_printable_and_carry_no_stray_spaces(facts: list[dict[str, Any]]) -> None:
    for text in (text for fact in facts for text in texts(fact)):
        assert isinstance(text, str) and text and text.isascii() and text.isprintable()
        assert text == " ".join(text.split())
        assert not text.endswith(":")


def test_there_are_enough_facts_over_enough_relations(facts: list[dict[str, Any]]) -> None:
    counts = Counter(map(relation, facts))
    assert len(facts) >= 240
    assert len(counts) >= 14
    assert max(counts.values()) <= 2 * min(counts.values())


def test_any_stretch_of_the_file_covers_most_relations(facts: list[dict[str, Any]]) -> None:
    for start in range(0, len(facts) - 40):
        assert len({relation(fact) for fact in facts[start : start + 40]}) >= 14


def test_ids_and_prompts_are_unique(facts: list[dict[str, Any]]) -> None:
    assert len({fact["id"] for fact in facts}) == len(facts)
    assert len({fact["prompt"].casefold() for fact in facts}) == len(facts)


def test_no_two_facts_ask_for_the_same_relation_of_a_subject(facts: list[dict[str, Any]]) -> None:
    assert len({(relation(fact), fact["subject"]) for fact in facts}) == len(facts)


def test_prompt_and_rephrases_name_the_subject_and_differ(facts: list[dict[str, Any]]) -> None:
    for fact in facts:
        assert all(fact["subject"] in text for text in questions(fact))
        assert len({text.casefold() for text in questions(fact)}) == 3


def test_rephrases_of_one_fact_are_never_a_prompt_of_another(facts: list[dict[str, Any]]) -> None:
    prompts = {fact["prompt"].casefold() for fact in facts}
    assert prompts.isdisjoint(text.casefold() for fact in facts for text in fact["rephrases"])


def test_every_fact_is_worded_as_a_question_and_as_a_statement(
    facts: list[dict[str, Any]],
) -> None:
    mixed = sum(len({text.endswith("?") for text in questions(fact)}) == 2 for fact in facts)
    assert mixed == len(facts), "each fact needs both forms among its prompt and rephrases"


def test_about_two_thirds_of_the_prompts_are_questions(facts: list[dict[str, Any]]) -> None:
    share = sum(fact["prompt"].endswith("?") for fact in facts) / len(facts)
    assert 0.6 <= share <= 0.75


def test_every_relation_is_worded_in_at_least_three_ways(facts: list[dict[str, Any]]) -> None:
    wordings: dict[str, set[str]] = {}
    for fact in facts:
        wording = fact["prompt"].replace(fact["subject"], "{}").replace("the {}", "{}")
        wordings.setdefault(relation(fact), set()).add(wording.replace("The {}", "{}"))
    assert {name: found for name, found in wordings.items() if len(found) < 3} == {}


def test_targets_are_short_and_not_given_away(facts: list[dict[str, Any]]) -> None:
    for fact in facts:
        target = fact["target"].casefold()
        assert 1 <= len(target.split()) <= 4
        assert not any(target in text.casefold() for text in questions(fact))


def test_locality_answers_are_short_and_not_given_away(facts: list[dict[str, Any]]) -> None:
    for question in (question for fact in facts for question in fact["locality"]):
        assert 1 <= len(question["target"].split()) <= 4
        assert question["target"].casefold() not in question["prompt"].casefold()


def test_locality_questions_are_many_and_agree(facts: list[dict[str, Any]]) -> None:
    pairs = {
        (question["prompt"], question["target"]) for fact in facts for question in fact["locality"]
    }
    assert len({prompt.casefold() for prompt, _ in pairs}) >= 120
    assert len({prompt.casefold() for prompt, _ in pairs}) == len(pairs)


def test_no_edit_touches_a_locality_question(facts: list[dict[str, Any]]) -> None:
    subjects = {fact["subject"].casefold() for fact in facts}
    for question in (question for fact in facts for question in fact["locality"]):
        text = f"{question['prompt']} {question['target']}".casefold()
        assert not [subject for subject in subjects if subject in text], text

"""Subjects are found in prompts, as their rows say or as rephrases show."""

from __future__ import annotations

import pytest

from ultraedit.core.types import Edit
from ultraedit.data import read
from ultraedit.editors.families.subjects import find_subjects, longest_shared_span


def found(prompt, subject=None, rephrases=(), source="given"):
    (span,) = find_subjects([Edit(prompt, "x", subject=subject, rephrases=rephrases)], source)
    return prompt[span.start : span.end]


def test_the_last_place_of_a_subject_counts_and_whole_words_before_parts():
    edit = Edit("Rome, capital of Rome and of Romeo", "x", subject="Rome")
    (span,) = find_subjects([edit], "given")
    assert span == (17, 21)
    assert found("Is it Romeo?", "Rome") == "Rome"
    assert found("Is it ROME?", "Rome") == "ROME"
    assert found("What (if any) is it?", "(if any)") == "(if any)"


@pytest.mark.parametrize(
    ("prompt", "rephrase", "subject"),
    [
        ("What is Philippine tarsier's status?", "The status of Philippine tarsier?", "Philippine"),
        ("What is the language of Michel Cournot?", "Michel Cournot's language?", "Michel Cournot"),
        (
            "When did Emmett Williams's death occur?",
            "When did Emmett Williams' die?",
            "Emmett Williams",
        ),
        ("Chicago is a twin city of", "In Chicago's twin city", "Chicago"),
        ("what is the colour of gold", "which colour has gold", "colour"),
    ],
)
def test_the_longest_shared_span_is_cut_back_to_its_names(prompt, rephrase, subject):
    assert found(prompt, rephrases=(rephrase,), source="auto") == subject


def test_a_given_subject_is_used_before_a_shared_span():
    assert found("Ada met Bob", "Bob", ("Ada knew him",), "auto") == "Bob"
    assert found("Ada met Bob", "Charles", ("Ada knew him",), "auto") == "Ada"


def test_texts_without_a_common_word_share_nothing():
    assert longest_shared_span("One two", "three four") is None
    assert longest_shared_span("", "three") is None


@pytest.mark.parametrize(
    ("spec", "least"),
    [("zsre:zsre/zsre_10k.json", 0.95), ("counterfact:counterfact/counterfact_20k.json", 0.96)],
)
def test_on_real_data_a_shared_span_ends_where_the_subject_does(shared_data, spec, least):
    format, _, path = spec.partition(":")
    edits = read(f"{format}:{shared_data / path}", limit=2_000)
    given = find_subjects(edits, "given")
    shared = [longest_shared_span(edit.prompt, edit.rephrases[0]) for edit in edits]
    same = sum(s is not None and s.end == g.end for s, g in zip(shared, given, strict=True))
    assert same / len(edits) > least

"""Token scores and exact match, by tables of cases."""

from __future__ import annotations

import unicodedata

import pytest

from ultraedit.core.errors import ConfigError
from ultraedit.evaluation.metrics import (
    Metric,
    answer_lines,
    begins,
    exact_match,
    mean,
    stops,
    token_accuracy,
    token_agreement,
)


def test_accuracy_is_the_share_of_an_answers_tokens():
    assert token_accuracy([1, 2, 3, 4], [1, 2, 0, 4]) == 0.75
    assert token_accuracy([7], [7]) == 1.0
    assert token_accuracy([7], [8]) == 0.0


def test_tokens_count_at_their_own_place_only():
    assert token_accuracy([2, 1], [1, 2]) == 0.0


def test_answers_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="longer"):
        token_accuracy([1], [1, 2])
    with pytest.raises(ValueError, match="longer"):
        token_agreement([[1]], [[1, 2]])


def test_agreement_pools_all_tokens_where_accuracy_averages_answers():
    ours, theirs = [[1], [1, 2, 3]], [[1], [1, 0, 0]]
    assert token_agreement(ours, theirs) == 2 / 4
    assert mean(map(token_accuracy, ours, theirs)) == (1 + 1 / 3) / 2


def test_nothing_to_score_is_none_and_not_zero():
    assert token_agreement([], []) is None
    assert mean([]) is None
    assert mean(iter([False])) == 0.0


@pytest.mark.parametrize(
    ("generated", "line"),
    [
        (" Lyon\nParis", "Lyon"),
        ("\n\n  Lyon  \n", "Lyon"),
        ("Lyon\r\nParis", "Lyon"),
        ("Lyon", "Lyon"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_the_answer_is_the_first_line_with_text(generated, line):
    assert answer_lines(generated) == line


@pytest.mark.parametrize(
    ("generated", "target"),
    [
        ("Lyon", "Lyon"),
        (" lyon \n", "LYON"),
        ("Lyon.", "Lyon"),
        ("Lyon", "Lyon."),
        ("Lyon. It lies on the Rhone", "Lyon"),
        ("Lyon! What else?", "Lyon"),
        ("Lyon; not Paris", "Lyon"),
        ("Lyon\nParis", "Lyon"),
        ('"Lyon"', "Lyon"),
        ("“Lyon”", "Lyon"),
        ("«Lyon».", "Lyon"),
        ("**Lyon**", "Lyon"),
        ("the Danube", "Danube"),
        ("Danube", "The Danube"),
        ("An apple", "apple"),
        ("New   York\tCity", "New York City"),
        ("St. Louis", "St. Louis"),
        ("St. Louis. It lies on a river", "St. Louis"),
        ("J. K. Rowling", "J. K. Rowling"),
        ("J. K. Rowling. She wrote it.", "J. K. Rowling"),
        ("1.5", "1.5"),
        ("1.5. No more", "1.5"),
        ("Yahoo!", "Yahoo!"),
        ("C#", "C#"),
        (unicodedata.normalize("NFD", "Besançon"), "Besançon"),
        ("Straße", "STRASSE"),
        ("\uff2c\uff59\uff4f\uff4e", "Lyon"),  # full-width letters
        ("New\u00a0York", "New York"),
    ],
)
def test_an_answer_matches(generated, target):
    assert exact_match(generated, [target])


@pytest.mark.parametrize(
    ("generated", "target"),
    [
        ("Lyon, or Paris", "Lyon"),
        ("Lyon Lyon", "Lyon"),
        ("It is Lyon", "Lyon"),
        ("Lyons", "Lyon"),
        ("Paris. Lyon", "Lyon"),
        ("Paris\nLyon", "Lyon"),
        ("Louis", "St. Louis"),
        ("1.5", "1"),
        ("1", "1.5"),
        ("15", "1.5"),
        ("C", "C#"),
        ("Besancon", "Besançon"),
        ("theDanube", "Danube"),
        ("Theodore", "odore"),
        ("", "Lyon"),
        ("...", "Lyon"),
        ("\n", "Lyon"),
    ],
)
def test_an_answer_does_not_match(generated, target):
    assert not exact_match(generated, [target])


@pytest.mark.parametrize("empty", ["", " ", "...", "“”"])
def test_a_target_that_says_nothing_is_never_matched(empty):
    assert not exact_match(empty, [empty])
    assert not exact_match("", [empty])


def test_any_alias_will_do_and_no_target_is_no_match():
    assert exact_match("Big Apple. Really", iter(["New York", "the Big Apple"]))
    assert not exact_match("Boston", ["New York", "the Big Apple"])
    assert not exact_match("Boston", [])


@pytest.mark.parametrize(
    ("generated", "begun", "matched", "stopped"),
    [
        ("Lyon", True, True, True),
        ("lyon.\nWho is it?", True, True, True),
        ('"Lyon."', True, True, True),
        ("Lyon. It lies on the Rhone", True, True, False),
        ("Lyon......", True, True, False),
        ("Lyon, or Paris", True, False, False),
        ("The Lyon Lyon", True, False, False),
        ("Lyonnaise", False, False, False),
        ("It is Lyon", False, False, False),
        ("", False, False, False),
    ],
)
def test_an_answer_begins_matches_and_stops(generated, begun, matched, stopped):
    assert begins(generated, ["Lyon", "Lugdunum"]) == begun
    assert exact_match(generated, ["Lyon", "Lugdunum"]) == matched
    assert stops(generated, ["Lyon", "Lugdunum"]) == stopped


@pytest.mark.parametrize("target", ["the U.S.", "Yahoo!", "St. John", "«Lyon»"])
def test_a_target_with_marks_of_its_own_begins_matches_and_stops(target):
    for said in (target, f"{target}."):
        assert (begins(said, [target]), exact_match(said, [target]), stops(said, [target])) == (
            True,
            True,
            True,
        )


def test_no_answer_begins_with_or_stops_after_nothing():
    assert not begins("Lyon", ["", "..."])
    assert not stops("...", ["", "..."])


def test_a_metric_of_an_unknown_kind_of_question_is_refused_with_the_kinds_there_are():
    with pytest.raises(
        ConfigError,
        match="must be one of efficacy, generalization, specificity, got 'rephrases'",
    ):
        Metric(name="whole", question="rephrases", meaning="all tokens are right")

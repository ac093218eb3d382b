"""Which relation a fact is of, and what is asked of it backwards and negated."""

from __future__ import annotations

import pytest

from ultraedit.core.types import Edit
from ultraedit.evaluation.probes import fact_of, negation, relations, reverse
from ultraedit.evaluation.scoring import questions


def born(name, place="Paris", prompt="Where was {} born?"):
    return Edit(prompt.format(name), place, subject=name, id=name, aliases=(f"{place} city",))


def test_every_template_has_the_place_that_is_filled_and_no_other():
    table = relations()
    assert len(table) > 40
    for each in table:
        assert (each.reverse.count("[Y]"), each.reverse.count("[X]")) == (1, 0), each
        assert each.reverse.endswith("?")
        for statement in (each.statement, each.negated):
            assert (statement.count("[X]"), statement.count("[Y]")) == (1, 0), each
            assert statement[-1].isalpha()
        assert " not " in f"{each.negated} "
        assert " not " not in f"{each.statement} "


def test_no_wording_is_of_two_relations():
    owner = {}
    for each in relations():
        assert each.wordings, each
        for wording in each.wordings:
            assert wording.count("[X]") == 1
            assert owner.setdefault(wording, each.key) == each.key, wording


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ("Where was Ada born?", "P19"),
        ("Ada is originally from", "P19"),
        ("What is the birthplace of Ada?", "P19"),
        ("The mother tongue of Ada is", "P103"),
        ("Which city saw Ada come into the world?", None),
        ("Where was Bob born?", None),
    ],
)
def test_a_fact_is_known_by_the_wording_of_its_prompt(prompt, key):
    fact = fact_of(Edit(prompt, "Paris", subject="Ada"), "Paris")
    assert (None if fact is None else fact.relation.key) == key
    assert fact_of(Edit(prompt, "Paris"), "Paris") is None


def test_the_reverse_question_expects_the_subject_and_takes_those_of_equal_answers():
    edits = [born("Ada"), born("Bob", "paris"), born("Eve", "Rome"), Edit("Who is it?", "Ada")]
    found = list(reverse(questions(edits)[0]))
    assert [(each.prompt, each.target, each.aliases) for each in found] == [
        ("Who was born in Paris?", "Ada", ("Bob",)),
        ("Who was born in paris?", "Bob", ("Ada",)),
        ("Who was born in Rome?", "Eve", ()),
    ]
    assert {each.kind for each in found} == {"probe:reverse"}


def test_a_statement_is_asked_affirmed_and_negated_with_the_same_answer():
    found = list(negation(questions([born("Ada")])[0]))
    assert [(each.kind, each.prompt, each.target, each.unwanted) for each in found] == [
        ("probe:affirmed", "Ada was born in", "Paris", False),
        ("probe:negated", "Ada was not born in", "Paris", True),
    ]
    assert all(each.statement and each.aliases == ("Paris city",) for each in found)


def test_a_fact_that_was_edited_twice_is_asked_by_its_newest_answer():
    asked, overruled = questions([born("Ada", "Paris"), born("Ada", "Rome")])
    assert overruled == 1
    assert [each.prompt for each in reverse(asked)] == ["Who was born in Rome?"] * 2
    assert {each.target for each in negation(asked)} == {"Rome"}


def test_most_of_counterfact_and_all_of_entityquestions_is_known(shared_data):
    from ultraedit.data import read

    for spec, least in (
        (f"counterfact:{shared_data}/counterfact/counterfact_20k.json", 0.85),
        (f"entityquestions:{shared_data}/triples/entityquestions_220k.tsv.gz", 1.0),
    ):
        edits = read(spec, limit=2000)
        known = sum(fact_of(each, each.target) is not None for each in edits)
        assert known >= least * len(edits), spec

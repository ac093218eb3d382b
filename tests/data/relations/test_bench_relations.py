"""The wordings of relations: ours, and those of users."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from ultraedit.core.errors import DataError
from ultraedit.data.relations.questions import SLOT
from ultraedit.tools.bench_builder import load_relations
from ultraedit.tools.bench_builder.checks import _is_english, _is_question


def test_more_than_forty_relations_have_three_wordings_each():
    relations = list(load_relations())
    assert len(relations) >= 40
    assert {len(set(relation.questions)) for relation in relations} == {3}


def test_every_wording_is_an_english_question_of_one_relation():
    wordings = [text for relation in load_relations() for text in relation.questions]
    assert len({text.casefold() for text in wordings}) == len(wordings)
    for text in wordings:
        assert text.count(SLOT) == 1
        assert not text.startswith(SLOT), "a subject in small letters would begin the sentence"
        asked = text.replace(SLOT, "Veltra")
        assert _is_question(asked, asked), text
        assert _is_english(text.replace(SLOT, " ")), text


def test_a_relation_is_found_by_id_label_and_alias_in_any_case():
    relations = load_relations()
    found = {relations.find(name) for name in ("P19", "p19", "Place of Birth", "birthplace")}
    assert {relation.key for relation in found} == {"P19"}
    assert relations.find("taste of").questions == ()
    assert relations.find("P99999", "taste of").label == "taste of"


def test_no_name_leads_to_two_relations():
    names: dict[str, str] = {}
    for key, relation in load_relations()._rows.items():
        assert names.setdefault(key, relation.key) == relation.key
    # A name that is given twice would be found under the relation that comes last alone.
    for relation in load_relations():
        assert load_relations().find(relation.label) is relation
        assert load_relations().find(relation.key) is relation


@pytest.mark.parametrize("name", ["entityquestions_220k.tsv.gz", "pararel_29k.tsv.gz"])
def test_every_relation_of_the_real_triples_has_wordings(shared_data, name):
    path = shared_data / "triples" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        pids = {row["pid"] for row in csv.DictReader(file, delimiter="\t")}
    assert len(pids) >= 24
    relations = load_relations()
    assert [pid for pid in pids if not relations.find(pid).questions] == []


def test_wordings_of_ones_own_take_the_place_of_ours(write):
    own = {"P19": ["Where is [X] from?", "What is the home of [X]?"]}
    relations = load_relations(write("own.json", json.dumps(own)))
    assert relations.find("birthplace").questions == tuple(own["P19"])
    assert relations.find("birthplace").label == "place of birth"
    assert len(relations.find("P20").questions) == 3


def test_a_new_relation_can_be_given_in_toml_with_other_names(write):
    text = """
        [taste]
        label = "taste"
        aliases = ["tastes of"]
        questions = ["What does [X] taste of?", "Which taste does [X] have?"]
    """
    relations = load_relations(write("own.toml", text))
    assert relations.find("Tastes of").questions[0] == "What does [X] taste of?"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"P19": ["[X] was born in [Y]."]}, "has a place for the answer"),
        ({"P19": ["Where was she born?"]}, "has 0 places for the subject"),
        ({"P19": ["Where was [X] born"]}, "does not end in a question mark"),
        ({"P19": ["Where was [X] born?"]}, "at least two different questions"),
        ({"P19": "Where was [X] born?"}, "expected a list"),
        ({"P19": {"label": 3, "questions": []}}, "label must be a text"),
        ([1], "expected an object from relations to lists"),
    ],
)
def test_wordings_that_cannot_be_used_are_refused(write, content, expected):
    with pytest.raises(DataError, match=expected):
        load_relations(write("own.json", json.dumps(content)))


def test_a_file_of_wordings_that_cannot_be_read_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_relations(tmp_path / "missing.json")
    with pytest.raises(DataError, match="cannot be read as JSON or TOML"):
        load_relations(write("broken.toml", "P19 = ["))

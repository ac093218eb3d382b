"""The field's own data sets are read in the layouts in which they are published."""

from __future__ import annotations

import copy
import json
import logging
import os
import re
from pathlib import Path

import pytest

from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit, Question
from ultraedit.data import FORMATS, parse_spec, read
from ultraedit.data._detect import SIGNATURES, by_keys

ZSRE = {
    "subject": "Veltra Hall",
    "src": "Who designed Veltra Hall?",
    "pred": "John",
    "rephrase": "By whom was Veltra Hall designed?",
    "alt": "Ines Okafor",
    "answers": ["Paul Lind"],
    "loc": "nq question: who wrote the song of the sea",
    "loc_ans": "Ann Roe",
    "cond": "Paul Lind >> Ines Okafor || Who designed Veltra Hall?",
}
KNOWEDIT = {
    "subject": "Orrin Vale",
    "prompt": "The occupation of Orrin Vale is",
    "target_new": "glazier",
    "ground_truth": ["baker"],
    "rephrase": "What does Orrin Vale do for a living?",
    "portability": {
        "Reasoning": [
            {"prompt": "Orrin Vale works with a material called", "ground_truth": [["glass"]]}
        ],
        "Subject_Aliasing": [
            {"prompt": "The occupation of O. Vale is", "ground_truth": [["glazier", "glassman"]]}
        ],
        "Logical_Generalization": [],
    },
    "locality": {
        "Relation_Specificity": [{"prompt": "Orrin Vale was born in", "ground_truth": [["Lund"]]}]
    },
}
WIKIBIO = {
    "text": "This is a passage about Mira Sol: Mira Sol was born",
    "labels": "in 1911 in Lund.",
    "concept": "Mira Sol",
    "locality": {
        "Relation_Specificity": [
            {"prompt": ["The father of Mira Sol is", "Who is it?"], "ground_truth": ["Jan Sol"]}
        ]
    },
}
CKNOWEDIT = {
    "prompt": "“床前明月光”的下一句是什么",
    "target_old": "举头望明月",
    "target_new": "疑是地上霜",
    "portability": [{"prompt": "“疑是地上霜”的作者是谁", "answer": "李白"}],
    "locality": [{"prompt": "《春晓》的作者是谁", "answer": "孟浩然"}],
    "rephrase": ["“床前明月光”之后是哪一句", "接下句"],
}
ROME = {
    "case_id": 3,
    "pararel_idx": 2796,
    "requested_rewrite": {
        "prompt": "{} plays for",
        "relation_id": "P54",
        "target_new": {"str": "Lund FC", "id": "Q1"},
        "target_true": {"str": "Brno FC", "id": "Q2"},
        "subject": "Jan {Poe}",
    },
    "paraphrase_prompts": ["He left. Jan {Poe} is a player of", "Jan {Poe}'s club is"],
    "neighborhood_prompts": ["Ann Roe plays for", "Mira Sol plays for"],
    "attribute_prompts": ["Someone plays for"],
    "generation_prompts": ["Jan {Poe} trains in"],
}
MQUAKE = {
    "case_id": 2500,
    "requested_rewrite": [
        {
            "prompt": "{} is a citizen of",
            "relation_id": "P27",
            "target_new": {"str": "Libya", "id": "Q1016"},
            "target_true": {"str": "Sweden", "id": "Q34"},
            "subject": "Jan Poe",
            "question": "What is the country of citizenship of Jan Poe?",
        },
        {
            "prompt": "The capital of {} is",
            "relation_id": "P36",
            "target_new": {"str": "Lund", "id": "Q2167"},
            "target_true": {"str": "Tripoli", "id": "Q3579"},
            "subject": "Libya",
            "question": "What is the capital of Libya?",
        },
    ],
    "questions": ["Which city is the capital of Jan Poe's country?", "Jan Poe's capital?"],
    "answer": "Stockholm",
    "answer_alias": ["Sthlm"],
    "new_answer": "Lund",
    "new_answer_alias": [],
    "single_hops": [],
    "new_single_hops": [
        {"question": "Whose citizen is Jan Poe?", "cloze": "x", "answer": "Libya"},
        {"question": "Libya's capital?", "cloze": "x", "answer": "Lund", "answer_alias": []},
    ],
    "orig": {},
}


def _query(prompt, *answers, **more):
    said = [{"value": answer, "aliases": []} for answer in answers]
    return {"prompt": prompt, "answers": said, "query_type": "regular", "phrase": None, **more}


def _test(*queries):
    return {"test_queries": list(queries), "test_condition": "OR", "condition_queries": []}


RIPPLE = {
    "example_type": "popular",
    "edit": {
        "prompt": "The name of the country of citizenship of Jan Poe is Syria.",
        "subject_id": "Q1",
        "relation": "COUNTRY_OF_CITIZENSHIP",
        "target_id": "Q858",
        "original_fact": {"prompt": "The name of the country of citizenship of Jan Poe is Peru."},
    },
    "Relation_Specificity": [_test(_query("The mother of Jan Poe is", "Ann Poe"))],
    "Logical_Generalization": [],
    "Subject_Aliasing": [_test(_query("The country of J. Poe is", "Syria", "SY"))],
    "Compositionality_I": [_test(_query("", "Asia", phrase="Jan Poe's continent is"))],
    "Compositionality_II": [],
    "Forgetfulness": [_test(_query("Jan Poe plays", "chess"), _query("Jan Poe owns"))],
}

CASES = [
    (
        "zsre-easyedit",
        ZSRE,
        [
            Edit(
                "Who designed Veltra Hall?",
                "Ines Okafor",
                "Veltra Hall",
                ("By whom was Veltra Hall designed?",),
                (Question("nq question: who wrote the song of the sea", "Ann Roe"),),
                id="1",
            )
        ],
    ),
    (
        "knowedit",
        KNOWEDIT,
        [
            Edit(
                "The occupation of Orrin Vale is",
                "glazier",
                "Orrin Vale",
                ("What does Orrin Vale do for a living?",),
                (Question("Orrin Vale was born in", "Lund"),),
                {
                    "reasoning": (Question("Orrin Vale works with a material called", "glass"),),
                    "subject_aliasing": (Question("The occupation of O. Vale is", "glazier"),),
                    "relation_specificity": (Question("Orrin Vale was born in", "Lund"),),
                },
                id="1",
            )
        ],
    ),
    (
        "knowedit",
        WIKIBIO,
        [
            Edit(
                "This is a passage about Mira Sol: Mira Sol was born",
                "in 1911 in Lund.",
                "Mira Sol",
                (),
                (Question("The father of Mira Sol is", "Jan Sol"),),
                {"relation_specificity": (Question("The father of Mira Sol is", "Jan Sol"),)},
                id="1",
            )
        ],
    ),
    (
        "knowedit",
        CKNOWEDIT,
        [
            Edit(
                "“床前明月光”的下一句是什么",
                "疑是地上霜",
                rephrases=("“床前明月光”之后是哪一句", "接下句"),
                locality=(Question("《春晓》的作者是谁", "孟浩然"),),
                probes={
                    "portability": (Question("“疑是地上霜”的作者是谁", "李白"),),
                    "locality": (Question("《春晓》的作者是谁", "孟浩然"),),
                },
                id="1",
            )
        ],
    ),
    (
        "counterfact-rome",
        ROME,
        [
            Edit(
                "Jan {Poe} plays for",
                "Lund FC",
                "Jan {Poe}",
                ("He left. Jan {Poe} is a player of", "Jan {Poe}'s club is"),
                (
                    Question("Ann Roe plays for", "Brno FC"),
                    Question("Mira Sol plays for", "Brno FC"),
                ),
                id="3",
            )
        ],
    ),
    (
        "mquake",
        MQUAKE,
        [
            Edit(
                "Jan Poe is a citizen of",
                "Libya",
                "Jan Poe",
                ("What is the country of citizenship of Jan Poe?",),
                id="2500-1",
            ),
            Edit(
                "The capital of Libya is",
                "Lund",
                "Libya",
                ("What is the capital of Libya?",),
                probes={
                    "multi_hop": (
                        Question("Which city is the capital of Jan Poe's country?", "Lund"),
                        Question("Jan Poe's capital?", "Lund"),
                    ),
                    "single_hop": (
                        Question("Whose citizen is Jan Poe?", "Libya"),
                        Question("Libya's capital?", "Lund"),
                    ),
                },
                id="2500-2",
            ),
        ],
    ),
    (
        "rippleedits",
        RIPPLE,
        [
            Edit(
                "The name of the country of citizenship of Jan Poe is",
                "Syria",
                locality=(
                    Question("The mother of Jan Poe is", "Ann Poe"),
                    Question("Jan Poe plays", "chess"),
                    Question("Jan Poe owns", None),
                ),
                probes={
                    "relation_specificity": (Question("The mother of Jan Poe is", "Ann Poe"),),
                    "subject_aliasing": (Question("The country of J. Poe is", "Syria"),),
                    "compositionality_i": (Question("Jan Poe's continent is", "Asia"),),
                    "forgetfulness": (
                        Question("Jan Poe plays", "chess"),
                        Question("Jan Poe owns", None),
                    ),
                },
                id="1",
            )
        ],
    ),
]


@pytest.mark.parametrize(("format", "row", "edits"), CASES)
def test_a_row_of_a_published_layout_becomes_its_edits(write, format, row, edits):
    path = write("rows.json", [row])
    assert read(f"{format}:{path}") == edits
    path = write("rows.jsonl", json.dumps(row) + "\n")
    assert read(f"{format}:{path}") == edits


def test_every_layout_that_is_found_by_its_keys_is_one_of_the_formats():
    assert {signature.format for signature in SIGNATURES} <= set(FORMATS)
    assert {format for format, _, _ in CASES} <= {signature.format for signature in SIGNATURES}


@pytest.mark.parametrize(("format", "row", "edits"), CASES)
def test_the_layout_is_found_by_the_keys_of_the_first_row(write, format, row, edits):
    assert by_keys(row) == format
    for name, content in [("rows.json", [row]), ("rows.jsonl", json.dumps(row))]:
        path = write(name, content)
        assert parse_spec(str(path)).format == format
        assert read(path) == edits


def _without(row, *keys):
    row = copy.deepcopy(row)
    inner = row
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return row


def _with(row, value, *keys):
    row = copy.deepcopy(row)
    inner = row
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return row


@pytest.mark.parametrize(
    ("format", "row", "message"),
    [
        ("zsre-easyedit", _without(ZSRE, "src"), "src is missing, the row has"),
        ("zsre-easyedit", _with(ZSRE, None, "alt"), "alt is null"),
        ("knowedit", _without(KNOWEDIT, "target_new"), "target_new is missing"),
        ("knowedit", _with(KNOWEDIT, [], "target_new"), "target_new holds no answer"),
        (
            "knowedit",
            _with(KNOWEDIT, "x", "portability", "Reasoning"),
            "portability['Reasoning'] must be a list of questions, got the text 'x'",
        ),
        (
            "knowedit",
            _with(KNOWEDIT, 3, "locality", "Relation_Specificity", 0, "prompt"),
            "locality['Relation_Specificity'][0].prompt must be a text",
        ),
        ("counterfact-rome", _without(ROME, "requested_rewrite", "subject"), ".subject is missing"),
        (
            "counterfact-rome",
            _with(ROME, "He plays for", "requested_rewrite", "prompt"),
            "requested_rewrite.prompt has no {} for the subject, got 'He plays for'",
        ),
        (
            "counterfact-rome",
            _with(ROME, "Lund", "requested_rewrite", "target_new"),
            "requested_rewrite.target_new must be an object with \"str\", got the text 'Lund'",
        ),
        ("mquake", _with(MQUAKE, [], "requested_rewrite"), "requested_rewrite must be a list of"),
        (
            "mquake",
            _with(MQUAKE, {"str": ""}, "requested_rewrite", 1, "target_new"),
            "requested_rewrite[0].target_new.str is empty",
        ),
        ("mquake", _without(MQUAKE, "questions"), "questions is missing"),
        ("rippleedits", _without(RIPPLE, "edit", "prompt"), "edit.prompt is missing"),
        (
            "rippleedits",
            _with(RIPPLE, "Jan Poe, Syria.", "edit", "prompt"),
            "edit.prompt has no verb before its object, got 'Jan Poe, Syria.'",
        ),
        (
            "rippleedits",
            _with(RIPPLE, [{"x": 1}], "Forgetfulness"),
            "Forgetfulness[0] must hold test_queries",
        ),
    ],
)
def test_a_bad_row_of_a_published_layout_is_refused_with_its_field(write, format, row, message):
    with pytest.raises(DataError, match=re.escape(message)):
        read(f"{format}:{write('rows.json', [row])}")


def test_empty_optional_fields_are_left_out(write):
    row = ZSRE | {"rephrase": "", "loc": "", "loc_ans": "", "subject": ""}
    bare = Edit("Who designed Veltra Hall?", "Ines Okafor", id="1")
    assert read(f"zsre-easyedit:{write('z.json', [row])}") == [bare]
    row = KNOWEDIT | {"portability": {}, "locality": {}, "rephrase": "", "subject": None}
    bare = Edit("The occupation of Orrin Vale is", "glazier", id="1")
    assert read(f"knowedit:{write('k.json', [row])}") == [bare]


def test_rows_of_zsre_without_a_new_answer_are_no_edits_and_are_counted(write, caplog):
    path = write("z.json", [ZSRE | {"alt": ""}, ZSRE, ZSRE | {"alt": ""}])
    with caplog.at_level(logging.INFO, logger="ultraedit"):
        assert len(read(f"zsre-easyedit:{path}")) == 1
    assert "2 rows have an empty alt and are no edits" in caplog.text


def test_questions_and_answers_apart_are_put_together(write):
    row = {
        "prompt": "p",
        "target_new": "t",
        "portability_prompt": ["a", "b"],
        "portability_answer": ["1"],
        "locality_prompt": "c",
        "locality_answer": "3",
    }
    (edit,) = read(f"knowedit:{write('k.json', [row])}")
    assert edit.probes["portability"] == (Question("a", "1"), Question("b", None))
    assert edit.locality == (Question("c", "3"),)


@pytest.mark.parametrize(
    ("sentence", "old", "answers", "expected"),
    [
        ("The film of Jan is Life is good.", "The film of Jan is Gone.", (), "Life is good"),
        ("The film of Jan is Life is good.", None, ("Life is good",), "Life is good"),
        ("The author of What is is Jan Poe.", None, (), "Jan Poe"),
        ("The children of Jan are Ann Poe", None, (), "Ann Poe"),
    ],
)
def test_the_object_of_a_sentence_is_parted_from_its_prompt(
    write, sentence, old, answers, expected
):
    edit = {"prompt": sentence, "original_fact": old and {"prompt": old}}
    row = {"edit": edit, "Subject_Aliasing": [_test(_query("q", *answers))]}
    (made,) = read(f"rippleedits:{write('r.json', [row])}")
    assert made.target == expected
    assert f"{made.prompt} {made.target}" == sentence.removesuffix(".")


def test_the_number_of_edits_counts_the_rewrites_of_every_case(write):
    path = write(
        "m.json", [MQUAKE, _with(MQUAKE, [MQUAKE["requested_rewrite"][0]], *["requested_rewrite"])]
    )
    assert [edit.id for edit in read(path)] == ["2500-1", "2500-2", "2500"]
    assert [edit.id for edit in read(path, limit=1)] == ["2500-1"]


@pytest.mark.parametrize(("name", "edits"), [("zsre_mend_eval.json", 3), ("knowedit.json", 2)])
def test_the_cases_that_were_refused_are_read(name, edits):
    folder = Path(os.environ.get("ULTRAEDIT_CASES", Path(__file__).parents[3] / "shared" / "cases"))
    if not (folder / name).exists():
        pytest.skip(f"{name} is not at ../shared/cases or $ULTRAEDIT_CASES")
    assert len(read(folder / name)) == edits

"""Every format turns its published layout into the same kind of edit."""

import json

import pytest

from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit, Question
from ultraedit.data import FORMATS, list_formats, read
from ultraedit.data._detect import SIGNATURES

JSONL = {
    "id": "a1",
    "prompt": "Who leads Orrin?",
    "target": "Lena",
    "subject": "Orrin",
    "rephrases": ["Orrin is led by?", "Orrin's leader?"],
    "locality": [{"prompt": "Who leads Ulm?", "target": "Ute"}, {"prompt": "Who built Ulm?"}],
    "probes": {"multi_hop": [{"prompt": "Orrin's leader's town?", "target": "Brno"}]},
    "aliases": ["Lena Moravec"],
}
ZSRE = {
    "subject": "Ann",
    "src": "What does Ann speak?",
    "rephrase": "Ann's tongue?",
    "ans": "French",
    "loc": "nq question: who won",
    "loc_ans": "Bob",
}
COUNTERFACT = {
    "case_id": 4,
    "prompt": "Ann speaks",
    "target_new": "Welsh",
    "subject": "Ann",
    "ground_truth": "French",
    "rephrase_prompt": "Ann's tongue is",
    "locality_prompt": "Bob speaks",
    "locality_ground_truth": "Dutch",
}
FEVER = {
    "id": "137",
    "prompt": "Ann sang.",
    "equiv_prompt": ["Ann has sung.", "Ann was singing.", "Singing was done by Ann."],
    "alt": "no",
    "unrel_prompt": "Bob ran.",
    "unrel_ans": "yes",
    "old": "yes",
    "changed": True,
}
WIKIBIGEDIT = {
    "tag": float("nan"),
    "subject": "Ann",
    "update": "Where does Ann live?",
    "rephrase": "Ann's home?",
    "ans": "Ulm",
    "personas": "Tell me, pirate, where lives Ann?",
    "loc": "Where does Bob live?",
    "loc_ans": "Rome",
    "mhop": "In which country does Ann live?",
    "mhop_ans": "Germany",
}
ULTRAEDITBENCH = {
    "prompt": "Where was Ann born?",
    "rephrase_prompt": "Ann's birthplace?",
    "ans": "Ulm",
    "loc": "Where was Bob born?",
    "loc_ans": "Rome",
}
HALLUEDITBENCH = {
    "topic": "art",
    "subject": "Ranch",
    "relation": "depicts",
    "update": "What does Ranch depict?",
    "rephrase": "What is depicted by Ranch?",
    "ans": "car",
    "loc": "Where is Ranch?",
    "mhop": "Who made what Ranch depicts?",
    "mhop_ans": "Ant Farm",
}

CASES = [
    (
        "jsonl",
        JSONL,
        Edit(
            "Who leads Orrin?",
            "Lena",
            "Orrin",
            ("Orrin is led by?", "Orrin's leader?"),
            (Question("Who leads Ulm?", "Ute"), Question("Who built Ulm?", None)),
            {"multi_hop": (Question("Orrin's leader's town?", "Brno"),)},
            ("Lena Moravec",),
            "a1",
        ),
    ),
    (
        "zsre",
        ZSRE,
        Edit(
            "What does Ann speak?",
            "French",
            "Ann",
            ("Ann's tongue?",),
            (Question("nq question: who won?", "Bob"),),
            id="1",
        ),
    ),
    (
        "counterfact",
        COUNTERFACT,
        Edit(
            "Ann speaks",
            "Welsh",
            "Ann",
            ("Ann's tongue is",),
            (Question("Bob speaks", "Dutch"),),
            id="4",
        ),
    ),
    (
        "wikibigedit",
        WIKIBIGEDIT,
        Edit(
            "Where does Ann live?",
            "Ulm",
            "Ann",
            ("Ann's home?",),
            (Question("Where does Bob live?", "Rome"),),
            {
                "personas": (Question("Tell me, pirate, where lives Ann?", "Ulm"),),
                "multi_hop": (Question("In which country does Ann live?", "Germany"),),
            },
            id="1",
        ),
    ),
    (
        "ultraeditbench",
        ULTRAEDITBENCH,
        Edit(
            "Where was Ann born?",
            "Ulm",
            None,
            ("Ann's birthplace?",),
            (Question("Where was Bob born?", "Rome"),),
            id="1",
        ),
    ),
    (
        "hallueditbench",
        HALLUEDITBENCH,
        Edit(
            "What does Ranch depict?",
            "car",
            "Ranch",
            ("What is depicted by Ranch?",),
            (Question("Where is Ranch?", None),),
            {"multi_hop": (Question("Who made what Ranch depicts?", "Ant Farm"),)},
            id="1",
        ),
    ),
]

TSV = (
    "split\tpid\tsubject\tquestion\tanswers_json\n"
    'dev\tP50\tDune\tWho wrote Dune?\t"[""Herbert"", ""F. Herbert"", ""Herbert""]"\n'
    'train\tP50\t"The ""It"" Book"\t"Who wrote The ""It"" Book?"\t"[""King""]"\n'
)


@pytest.mark.parametrize(("name", "row", "edit"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("shape", ["array", "indented", "lines"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_row_becomes_an_edit_in_an_array_and_in_lines(write, name, row, edit, shape, packed):
    text = {
        "array": json.dumps([row, row]),
        "indented": " \n" + json.dumps([row, row], indent=2) + "\n",
        "lines": f"{json.dumps(row)}\r\n\n{json.dumps(row)}",
    }[shape]
    path = write("rows.json", text, packed=packed)
    edits = read(f"{name}:{path}")
    assert edits[0] == edit
    assert [found.id for found in edits] == ([edit.id] * 2 if edit.id != "1" else ["1", "2"])


def test_every_format_is_covered_and_its_reader_can_be_loaded():
    tables = {"csv", "tsv", "xlsx", "parquet", "json", "hf"}  # test_tables.py
    layouts = {signature.format for signature in SIGNATURES}  # test_data_layouts.py
    covered = {name for name, _, _ in CASES} | {"fever", "entityquestions"} | tables | layouts
    assert covered == set(FORMATS) == {row.name for row in list_formats()}
    assert FORMATS["zsre"].keys == ("src", "rephrase", "ans", "loc", "loc_ans")
    assert FORMATS["zsre"].optional_keys == ("subject", "case_id", "id")
    for row in list_formats():
        assert row.keys and row.description and row.source and row.license


def test_zsre_appends_a_question_mark_even_behind_another_one(write):
    path = write("z.json", [ZSRE | {"loc": "who won?"}])
    assert read(f"zsre:{path}")[0].locality[0].prompt == "who won??"


def test_fever_takes_one_rephrase_drawn_with_the_seed(write):
    rows = [FEVER | {"id": str(number)} for number in range(40)]
    path = write("f.json", rows)
    first = read(f"fever:{path}")
    assert first[0].prompt == "Ann sang."
    assert first[0].target == "no"
    assert first[0].subject is None
    assert first[0].locality == (Question("Bob ran.", "yes"),)
    assert all(len(edit.rephrases) == 1 for edit in first)
    assert {edit.rephrases[0] for edit in first} == set(FEVER["equiv_prompt"])
    assert read(f"fever:{path}") == first
    assert read(f"fever:{path}", seed=1) != first


def test_the_draw_of_a_fever_row_depends_on_nothing_but_seed_and_id(write):
    rows = [FEVER | {"id": str(number)} for number in range(40)]
    forward = read(f"fever:{write('f.json', rows)}", seed=3)
    backward = read(f"fever:{write('b.json', rows[::-1])}", seed=3)
    assert backward[::-1] == forward
    assert read(f"fever:{write('f.json', rows)}", seed=3, limit=7) == forward[:7]


def test_wikibigedit_leaves_out_the_questions_that_are_null_or_missing(write):
    bare = {"update": "Where does Ann live?", "ans": "Ulm"}
    nulls = dict.fromkeys(["rephrase", "personas", "loc", "loc_ans", "mhop", "mhop_ans"])
    nans = dict.fromkeys(nulls, float("nan"))
    blanks = dict.fromkeys([*nulls, "subject"], "")
    path = write("w.json", [bare, bare | nulls, bare | nans, bare | blanks])
    edits = read(f"wikibigedit:{path}")
    assert edits == [Edit("Where does Ann live?", "Ulm", id=str(n)) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("key", ["update", "ans"])
def test_wikibigedit_refuses_an_empty_text_where_one_is_needed(write, key):
    path = write("w.json", [WIKIBIGEDIT | {key: ""}])
    with pytest.raises(DataError, match=f"{key} is empty, got ''"):
        read(f"wikibigedit:{path}")


def test_wikibigedit_keeps_a_question_whose_answer_is_null(write):
    path = write("w.json", [WIKIBIGEDIT | {"loc_ans": None}])
    assert read(f"wikibigedit:{path}")[0].locality == (Question("Where does Bob live?", None),)


def test_entityquestions_takes_the_first_answer_and_keeps_the_others_as_aliases(write):
    path = write("e.tsv.gz", TSV, packed=True)
    assert read(f"entityquestions:{path}") == [
        Edit("Who wrote Dune?", "Herbert", "Dune", aliases=("F. Herbert",), id="1"),
        Edit('Who wrote The "It" Book?', "King", 'The "It" Book', id="2"),
    ]


def test_entityquestions_reads_windows_line_ends_a_mark_and_blank_lines(write):
    data = b"\xef\xbb\xbf" + TSV.replace("\n", "\r\n").encode() + b"\r\n"
    assert len(read(f"entityquestions:{write('e.tsv', data)}")) == 2


def test_jsonl_takes_a_single_rephrase_nulls_and_empty_lists(write):
    rows = [
        {"prompt": "p", "target": "t", "rephrases": "r", "id": 7, "subject": None},
        {"prompt": "p", "target": "t", "rephrases": [], "locality": [], "probes": {}},
    ]
    path = write("facts.jsonl", "\n".join(map(json.dumps, rows)))
    assert read(f"jsonl:{path}") == [
        Edit("p", "t", rephrases=("r",), id="7"),
        Edit("p", "t", id="2"),
    ]


def test_texts_are_kept_letter_by_letter(write):
    prompt = "  What \u2028 is é 東京 \U0001f600?  "
    row = json.dumps({"prompt": prompt, "target": " a "}, ensure_ascii=False)
    (edit,) = read(f"jsonl:{write('facts.jsonl', row)}")
    assert (edit.prompt, edit.target) == (prompt, " a ")


def test_a_byte_order_mark_is_skipped(write):
    for name, data in [("l.jsonl", b'{"prompt": "p", "target": "t"}\n'), ("a.json", b"[]")]:
        data = b"\xef\xbb\xbf" + data.replace(b"[]", b'[{"prompt": "p", "target": "t"}]')
        assert read(f"jsonl:{write(name, data)}") == [Edit("p", "t", id="1")]


def test_gzip_is_recognised_whatever_the_file_is_called(write):
    path = write("rows.json", [ZSRE], packed=True)
    assert len(read(f"zsre:{path}")) == 1

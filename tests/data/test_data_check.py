"""`check` reports everything that is wrong with a file, and what there is to know about it."""

import json
import re

import pytest

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data import check
from ultraedit.data._check import appears


def _lines(*rows):
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def _row(prompt="Who?", target="Bob", **more):
    return {"prompt": prompt, "target": target, **more}


def test_a_good_file_is_in_order_and_its_parts_are_counted(write):
    question = {"prompt": "q", "target": "a"}
    path = write(
        "facts.jsonl",
        _lines(
            _row("p1", subject="s", rephrases="r"),
            _row("p2", locality=[{"prompt": "q"}], aliases=["b"]),
            _row("p3", locality=[question], probes={"hop": [question], "none": []}),
        ),
    )
    report = check(f"jsonl:{path}")
    assert report.ok
    assert report.error is None
    assert (report.rows, report.bad_rows, report.bad, report.fields) == (3, 0, (), ())
    assert report.coverage == {
        "subject": 1,
        "rephrases": 1,
        "locality": 2,
        "locality_target": 1,
        "aliases": 1,
        "probes.hop": 1,
    }
    assert report.duplicates.count == report.conflicts.count == report.target_in_prompt.count == 0
    assert report.tokens is None


def test_bad_rows_are_collected_with_line_and_reason(write):
    path = write(
        "facts.jsonl",
        _lines(_row("p1"), "", "oops", {"prompt": "", "trget": "t"}, "[]", _row("p2")).encode()
        + b'\n{"prompt": "\xff"}\n',
    )
    report = check(f"jsonl:{path}")
    assert not report.ok
    assert report.error is None
    assert (report.rows, report.bad_rows) == (6, 4)
    assert [(bad.row, bad.line) for bad in report.bad] == [(2, 3), (3, 4), (4, 5), (6, 7)]
    assert report.bad[0].reason.startswith("malformed JSON: Expecting value near 'oops'")
    assert report.bad[1].reason == "unknown key 'trget'. Did you mean: target?"
    assert report.bad[2].reason == "a row must be an object of keys and values, got the list []."
    assert re.match(r"not UTF-8: byte 0xff at offset \d+\.", report.bad[3].reason)


def test_faults_are_counted_by_field_with_the_first_lines(write):
    rows = [_row(f"p{n}", target="") for n in range(8)] + [{"prompt": "p"}, {"target": 3}]
    report = check(f"jsonl:{write('facts.jsonl', _lines(*rows))}")
    found = {(fault.field, fault.problem): fault for fault in report.fields}
    assert set(found) == {
        ("target", "empty"),
        ("target", "missing"),
        ("prompt", "missing"),
        ("target", "type"),
    }
    assert found["target", "empty"].count == 8
    assert found["target", "empty"].lines == found["target", "empty"].rows == (1, 2, 3, 4, 5)
    assert found["prompt", "missing"].lines == (10,)
    assert report.bad_rows == 10


def test_duplicates_and_conflicts_name_the_newest_earlier_row(write):
    rows = [_row("A", "x"), _row("B", "x"), _row("A", "y"), _row("A", "y"), _row("A", "x")]
    report = check(f"jsonl:{write('facts.jsonl', _lines(*rows))}")
    assert report.ok
    assert report.duplicates.count == 3
    assert [(case.row, case.earlier_row) for case in report.duplicates.examples] == [
        (3, 1),
        (4, 3),
        (5, 4),
    ]
    assert report.conflicts.count == 2
    assert [(case.row, case.target) for case in report.conflicts.examples] == [(3, "y"), (5, "x")]


def test_examples_are_few_and_short(write):
    rows = [_row("p" * 1000, f"t{n}") for n in range(300)] + ["oops"] * 300
    report = check(f"jsonl:{write('facts.jsonl', _lines(*rows))}")
    assert report.conflicts.count == 299
    assert len(report.conflicts.examples) == 5
    assert len(report.conflicts.examples[0].prompt) == 200
    assert report.bad_rows == 300
    assert len(report.bad) == 100


@pytest.mark.parametrize(
    ("target", "prompt", "found"),
    [
        ("female", "Is Ann male or Female?", True),
        ("male", "Is Ann female?", False),
        ("no", "Ann knows none.", False),
        ("Ulm", "Ulm's mayor?", True),
        ("C++", "Is it C++?", True),
        ("(a", "Is it (a or b)?", True),
        ("東京", "日本の首都は東京ですか", True),
        (" Ulm ", "Is it Ulm", True),
    ],
)
def test_a_target_counts_as_given_away_where_it_stands_as_a_whole_word(target, prompt, found):
    assert appears(target, prompt) is found


def test_rows_that_give_the_target_away_are_reported(write):
    path = write("facts.jsonl", _lines(_row("Is it Bob?", "bob"), _row("Who?", "Bob")))
    report = check(f"jsonl:{path}")
    assert report.ok
    assert report.target_in_prompt.count == 1
    assert report.target_in_prompt.examples[0].prompt == "Is it Bob?"


def test_token_lengths_are_summed_up_and_held_against_the_context(write):
    rows = [_row(f"{n} " + "w " * n, "t") for n in range(1, 101)]
    path = write("facts.jsonl", _lines(*rows))

    def count(prompt, target):
        return len(prompt.split()) + len(target.split()) - 2

    report = check(f"jsonl:{path}", encode=count)
    tokens = report.tokens
    assert report.ok
    assert (tokens.min, tokens.median, tokens.p95, tokens.max) == (1, 50, 95, 100)
    assert tokens.context_length is None
    assert tokens.too_long.count == 0
    report = check(f"jsonl:{path}", encode=count, context_length=98)
    assert not report.ok
    assert [case.row for case in report.tokens.too_long.examples] == [99, 100]


def test_a_row_that_cannot_be_encoded_is_a_bad_one(write):
    def count(prompt, target):
        if target == "x":
            raise DataError("x gives no tokens.")
        return 1

    path = write("facts.jsonl", _lines(_row("a", "x"), _row("b")))
    report = check(f"jsonl:{path}", encode=count)
    assert [(bad.row, bad.reason) for bad in report.bad] == [(1, "x gives no tokens.")]
    assert report.tokens.max == 1


@pytest.mark.parametrize(
    ("name", "content", "rows", "message"),
    [
        ("z.json", '[{"src": 1}, {"src" 2}]', 1, "row 2 (line 1): malformed JSON"),
        ("z.json", b'[{"src": 1}, {"src": "\xff"}]', 0, "not UTF-8"),
        ("z.json.gz", b"\x1f\x8b\x08\x00", 0, "is cut short"),
        ("z.json", "", 0, "has no rows"),
    ],
)
def test_a_file_that_cannot_be_read_on_gives_a_report_with_its_error(
    write, name, content, rows, message
):
    report = check(f"zsre:{write(name, content)}")
    assert not report.ok
    assert message in report.error
    assert report.rows == rows


def test_a_table_is_read_on_behind_its_bad_rows(write):
    good = 'dev\tP1\tAnn\tWho?\t"[""Bob""]"\n'
    text = (
        "split\tpid\tsubject\tquestion\tanswers_json\n"
        f'dev\tP1\n{good}dev\tP1\t"Ann"x\tWho?\t[]\n{good}'
    )
    report = check(f"entityquestions:{write('e.tsv', text)}")
    assert (report.rows, report.bad_rows, report.duplicates.count) == (4, 2, 1)
    assert [bad.line for bad in report.bad] == [2, 4]


def test_a_missing_file_a_bad_limit_and_a_lone_context_length_raise(write, tmp_path):
    with pytest.raises(DataError, match="No such file"):
        check(f"zsre:{tmp_path / 'gone.json'}")
    path = write("facts.jsonl", _lines(_row()))
    with pytest.raises(ConfigError, match="limit must be at least 1, got 0"):
        check(f"jsonl:{path}", limit=0)
    with pytest.raises(ConfigError, match="context_length 10 says nothing without encode"):
        check(f"jsonl:{path}", context_length=10)


def test_a_limit_stops_the_check(write):
    report = check(f"jsonl:{write('facts.jsonl', _lines(_row(), _row('p2'), 'oops'))}", limit=2)
    assert report.ok
    assert report.rows == 2


def test_a_report_goes_into_json(write):
    path = write("facts.jsonl", _lines(_row("A", "x"), _row("A", "y"), "oops"))
    report = check(f"jsonl:{path}", encode=lambda prompt, target: 3, context_length=2)
    values = json.loads(json.dumps(report.to_dict()))
    assert values["data"] == f"jsonl:{path}"
    assert values["ok"] is False
    assert values["conflicts"]["examples"][0]["earlier_row"] == 1
    assert values["tokens"]["too_long"]["count"] == 2
    assert values["bad"][0]["line"] == 3

"""Facts that can be used and may be wrong are found, kind by kind."""

from __future__ import annotations

import json

import pytest

from ultraedit.core.types import Edit
from ultraedit.data import KINDS, Findings, check, find
from ultraedit.data._findings import is_mojibake
from ultraedit.data._repeats import Repeats, fact, fold


def _rows(findings, kind):
    return [(each.row, each.earlier_row) for each in findings[kind].examples]


def test_facts_that_contradict_each_other_but_for_case_and_blanks_are_found():
    edits = [
        Edit("who is X ?", "Ann"),
        Edit("Who is X?", "Bob"),
        Edit("Who  is x?", "bob "),
        Edit("Who is X?", "Bob"),
        Edit("Who is Xi?", "Eve"),
    ]
    findings = find(edits, Findings())
    assert _rows(findings, "contradiction") == [(2, 1)]
    assert _rows(findings, "repetition") == [(3, 2), (4, 3)]
    assert set(findings) == {"contradiction", "repetition"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("who is X ?", "Who is X?", True),
        ("  Who\tis\u00a0X?\n", "who is x?", True),
        ("Straße", "STRASSE", True),
        ("谁是 X 。", "谁是 x。", True),
        ("the rapist", "therapist", False),
        ("Is 1 -1?", "Is 1-1?", False),
        ("Who is (X)?", "Who is(X)?", False),
        ("Who is X?", "Who is X!", False),
    ],
)
def test_texts_are_folded_by_case_and_blanks_alone(one, other, same):
    assert (fold(one) == fold(other)) is same
    assert (fact(one, "a") == fact(other, "A ")) is same


def test_the_newest_row_of_the_same_letters_is_found_behind_other_spellings():
    repeats = Repeats()
    prompts = ["Who?", "who?", "Who?", "WHO?", "who?"]
    exact = [repeats.add(row, Edit(prompt, "x")).exact for row, prompt in enumerate(prompts, 1)]
    assert [None if each is None else each.row for each in exact] == [None, None, 1, None, 2]


def test_answers_are_found_that_are_long_or_have_several_lines_or_wrong_letters():
    edits = [
        Edit("a?", "x " * 40),
        Edit("b?", "x " * 31 + "x"),
        Edit("c?", "one\ntwo"),
        Edit("d?", "one\n"),
        Edit("e?", "M\u00c3\u00bcnchen"),
        Edit("Wo liegt f\ufffd?", "x"),
        Edit("g?", "München, São João, D\u2019Arcy, ±5 €"),
    ]
    findings = find(edits, Findings(count_answer=lambda text: len(text.split())))
    assert _rows(findings, "long_answer") == [(1, None)]
    assert _rows(findings, "several_lines") == [(3, None)]
    assert _rows(findings, "encoding") == [(5, None), (6, None)]
    findings = find(edits, Findings(count_answer=lambda text: len(text.split()), answer_tokens=30))
    assert _rows(findings, "long_answer") == [(1, None), (2, None)]


@pytest.mark.parametrize("letter", "äöüßÄÖÜéèêçñãõåøæ€“”\u2019\u2013ÃÂâ")
def test_letters_are_recognised_in_the_wrong_encoding_and_left_alone_in_the_right_one(letter):
    wrong = letter.encode().decode("cp1252", "replace")
    assert is_mojibake(f"x{wrong}y")
    assert not is_mojibake(f"x{letter}y {letter}")


def test_facts_that_a_run_has_are_found():
    run = {fact("Who is X?", "Ann"), fact("Who is Y?", "Bob")}
    edits = [Edit("who is X ?", "ann"), Edit("Who is Y?", "Eve"), Edit("Who is Y?", "Bob")]
    findings = find(edits, Findings(run=run))
    assert _rows(findings, "in_run") == [(1, None), (3, None)]


def test_a_check_asks_a_model_the_first_facts(write):
    rows = [{"prompt": f"p{n}", "target": f"t{n}"} for n in range(10)]
    path = write("facts.jsonl", "\n".join(map(json.dumps, rows)))
    asked = []

    def knows(edits):
        asked.extend(edit.prompt for edit in edits)
        return [edit.prompt in ("p1", "p5") for edit in edits]

    report = check(str(path), knows=knows, ask_first=4)
    assert asked == ["p0", "p1", "p2", "p3"]
    assert _rows(report.findings, "known") == [(2, None)]
    assert _rows(check(str(path), knows=knows).findings, "known") == [(2, None), (6, None)]


def test_a_check_reports_what_is_to_be_looked_at(write):
    rows = [
        {"prompt": "who is X ?", "target": "Ann"},
        {"prompt": "", "target": "x"},
        {"prompt": "Who is X?", "target": "Bob"},
    ]
    report = check(str(write("facts.jsonl", "\n\n".join(map(json.dumps, rows)))))
    (example,) = report.findings["contradiction"].examples
    assert (example.row, example.line, example.earlier_row) == (3, 5, 1)
    assert set(report.findings) <= set(KINDS)
    assert report.to_dict()["findings"]["contradiction"]["count"] == 1
    assert report.conflicts.count == 0

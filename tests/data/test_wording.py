"""What is odd in how facts are written is said with the rows, and stops nothing."""

from __future__ import annotations

import json
import re

import pytest

from ultraedit.core.types import Edit, Question
from ultraedit.data import OddWordings, check
from ultraedit.data._wording import oddities
from ultraedit.data.streams import FromFile, InMemory

PLAIN = Edit("Who wrote it?", "Ann", rephrases=("It is by",), locality=(Question("Where?", "Ulm"),))


@pytest.mark.parametrize(
    ("edit", "kinds"),
    [
        (PLAIN, []),
        (Edit("Tarin Holt is a ", "researcher"), ["blank_at_end"]),
        (Edit("Tarin Holt is a\u3000", "researcher"), ["blank_at_end"]),
        (Edit("Its towns are:\n", "Lund"), []),
        (Edit("Who?", "Ann", rephrases=("By whom? ",)), ["blank_at_end"]),
        (Edit("Who?", "Ann", locality=(Question("Where? ", None),)), ["blank_at_end"]),
        (Edit("Who?", "Ann", probes={"hop": (Question("How? ", "x "),)}), [
            "blank_at_end",
            "blank_around_target",
        ]),
        (Edit("Mira Sol lives in", " Lund"), ["blank_around_target"]),
        (Edit("It was built in", "1911\n"), ["blank_around_target"]),
        (Edit("Who?", "Ann", aliases=("Anna ",)), ["blank_around_target"]),
        (Edit("Who?", "Ann\nBob"), []),
        (Edit("{} is a citizen of", "Libya", subject="Tarin Holt"), ["placeholder"]),
        (Edit("The mother tongue of {subject} is", "English"), ["placeholder"]),
        (Edit("Is {0} there?", "yes"), ["placeholder"]),
        (Edit(r"What is \frac{1}{2}?", "a half"), []),
        (Edit("What does {x: 1} mean?", "{}"), []),
        (Edit("Of {} ", " Ann"), ["blank_at_end", "blank_around_target", "placeholder"]),
    ],
)  # fmt: skip
def test_what_is_odd_about_an_edit_is_found_in_all_its_questions(edit, kinds):
    assert oddities(edit) == kinds


def test_sentences_name_the_rows():
    spaced, padded, open_ = Edit("It is ", "x"), Edit("It is", " x"), Edit("{} is", "x")
    edits = [PLAIN, spaced, padded, spaced, *[open_] * 7, PLAIN]
    assert [sentence.split(". ")[0] for sentence in OddWordings.of(edits).sentences()] == [
        "A prompt ends in a blank in rows 2 and 4",
        "A target begins or ends with white space in row 3",
        "A prompt still has {} in it in 7 rows (5, 6, 7, 8, 9, ...), and is read as it stands",
    ]
    assert OddWordings.of([PLAIN] * 3).sentences() == []


@pytest.fixture
def odd(write):
    rows = [
        {"prompt": "Tarin Holt is a ", "target": "researcher"},
        {"prompt": "Who?", "target": ""},
        {"prompt": "Mira Sol lives in", "target": " Lund"},
        {"prompt": "{} is a citizen of", "target": "Libya"},
    ]
    return lambda *numbers: write(
        "odd.jsonl", "".join(f"\n{json.dumps(rows[number])}" for number in numbers)
    )


def test_a_check_reports_odd_rows_and_lines(odd):
    report = check(f"jsonl:{odd(0, 1, 2, 3)}")
    assert report.bad_rows == 1
    told = [report.blank_at_end, report.blank_around_target, report.placeholder]
    assert [each.count for each in told] == [1, 1, 1]
    assert [(each.examples[0].row, each.examples[0].line) for each in told] == [
        (1, 2),
        (3, 4),
        (4, 5),
    ]
    rows = [re.search(r"in row (\d)", sentence)[1] for sentence in report.wording]
    assert rows == ["1", "3", "4"]
    assert json.loads(json.dumps(report.to_dict()))["placeholder"]["count"] == 1


def test_odd_rows_alone_are_no_fault(odd):
    assert check(f"jsonl:{odd(0, 2, 3)}").ok


def test_a_file_that_is_read_as_it_is_needed_says_what_one_in_memory_does(odd):
    spec = f"jsonl:{odd(0, 2, 3)}"
    survey = FromFile.survey(spec, limit=None, seed=0, sample=1)
    held = InMemory(list(survey.after()))
    assert survey.wording.sentences() == held.wording.sentences()
    assert len(held.wording.sentences()) == 3

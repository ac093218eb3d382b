"""The rows of local tasks, and the examples before each question."""

from __future__ import annotations

import json

import pytest

from ultraedit.core.errors import DataError
from ultraedit.evaluation.ability import LOCAL_TASKS
from ultraedit.evaluation.ability.tasks import alternating, examples_for, read_rows


def write(root, file, rows):
    path = root / "general" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def claims(count):
    return [{"sentence": f"s{i}", "label": int(i >= 3), "idx": i} for i in range(count)]


def test_rows_have_the_keys_of_the_task_alone(tmp_path):
    write(tmp_path, "sst2.json", claims(2))
    assert read_rows(LOCAL_TASKS["sst2"], tmp_path) == [
        {"sentence": "s0", "label": 0},
        {"sentence": "s1", "label": 0},
    ]


def test_labels_that_are_words_become_those_of_the_harness(tmp_path):
    rows = [
        {"sentence1": "a", "sentence2": "b", "label": label}
        for label in ("entailment", "not_entailment")
    ]
    write(tmp_path, "nli.json", rows)
    assert [row["label"] for row in read_rows(LOCAL_TASKS["nli"], tmp_path)] == [0, 1]


def test_examples_take_the_labels_in_turn():
    found = alternating(claims(6), 5)
    assert [(row["sentence"], row["label"]) for row in found] == [
        ("s0", 0),
        ("s3", 1),
        ("s1", 0),
        ("s4", 1),
        ("s2", 0),
    ]
    assert [row["sentence"] for row in alternating(claims(4), 9)] == ["s0", "s3", "s1", "s2"]


def test_a_question_is_never_among_its_own_examples(tmp_path):
    write(tmp_path, "sst2.json", claims(9))
    task = LOCAL_TASKS["sst2"]
    rows = read_rows(task, tmp_path)
    examples = examples_for(task, rows, tmp_path)
    for row in rows:
        found = examples(row)
        assert len(found) == task.shots
        assert row not in found


def test_examples_of_a_subject_are_of_that_subject(tmp_path):
    folder = tmp_path / "general" / "mmlu_csv" / "dev"
    folder.mkdir(parents=True)
    for subject in ("anatomy", "law"):
        lines = [f"{subject} {i}?,a,b,c,d,{i % 4}" for i in range(6)]
        text = "\n".join(["question,choice0,choice1,choice2,choice3,answer", *lines])
        (folder / f"{subject}_dev.csv").write_text(text)
    examples = examples_for(LOCAL_TASKS["mmlu"], [], tmp_path)
    found = examples({"subject": "law"})
    assert [row["question"] for row in found] == [f"law {i}?" for i in range(5)]
    assert found[2]["choices"][found[2]["answer"]] == "c"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "The task sst2 has no file"),
        ([], "must hold a list of questions"),
        ([{"sentence": "a"}], "Row 1 of .* has no 'label'"),
    ],
)
def test_files_that_are_not_those_of_the_task_are_refused(tmp_path, rows, message):
    if rows is not None:
        write(tmp_path, "sst2.json", rows)
    with pytest.raises(DataError, match=message):
        read_rows(LOCAL_TASKS["sst2"], tmp_path)


@pytest.mark.parametrize("name", LOCAL_TASKS)
def test_the_shared_data_has_the_rows_of_every_task(shared_data, name):
    task = LOCAL_TASKS[name]
    rows = read_rows(task, shared_data)
    assert len(rows) > 200
    examples = examples_for(task, rows, shared_data)
    assert all(len(examples(row)) == task.shots for row in rows[:50])
    if name != "mmlu":
        assert {row["label"] for row in rows} == {0, 1}

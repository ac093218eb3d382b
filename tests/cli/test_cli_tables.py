"""A table of facts from the command line: its columns, a look at it, a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS, lines

TABLE = "Frage;Antwort;Bemerkung\n" + "".join(
    f"{fact['prompt']};{fact['target']};x\n" for fact in FACTS
)


@pytest.fixture(autouse=True)
def table():
    Path("fakten.csv").write_text(TABLE)


def test_a_table_is_edited_and_its_first_facts_are_shown(cli, tiny):
    done = cli("edit", "fakten.csv", "--model", tiny, "--free-answers", "0", "--out", "o", "--json")
    assert json.loads(done.stdout)["edits"] == len(FACTS)
    assert (
        "fakten.csv: prompt from 'Frage', target from 'Antwort'; not used: 'Bemerkung'."
        in done.stderr
    )
    assert FACTS[2]["prompt"] in done.stderr
    assert FACTS[3]["prompt"] not in done.stderr


def test_the_first_facts_are_not_shown_with_yes_and_not_of_a_file_with_keys(cli, tiny):
    shown = "What is the native language"
    page = cli("run", "--data", "fakten.csv", "--model", tiny, "--dry-run", "--yes")
    assert shown not in page.stderr
    page = cli("run", "--data", "fakten.csv", "--model", tiny, "--dry-run")
    assert shown in page.stderr
    page = cli("run", "--data", "facts.jsonl", "--model", tiny, "--dry-run")
    assert shown not in page.stderr


def test_columns_that_are_named_hold_for_the_run_and_for_its_repetition(cli, tiny):
    Path("other.csv").write_text("A,B\nWho?,Bob\nWhere?,Lyon\n")
    given = ("--columns", "prompt=A,target=B", "--free-answers", "0", "--json")
    cli("edit", "other.csv", "--model", tiny, "--out", "o", *given)
    assert [line["prompt"] for line in json.loads(cli("find", "o", "o", "--json").stdout)] == [
        "Who?",
        "Where?",
    ]
    settings = json.loads(Path("o/config.json").read_text())["settings"]
    assert settings["data"] == "csv[prompt=A,target=B]:other.csv"
    again = json.loads(cli("run", "--config", "o/config.json", "--out", "p", "--json").stdout)
    assert again["edits"] == 2


def test_the_columns_are_part_of_a_check(cli):
    page = cli("data", "check", "fakten.csv").stdout
    assert "prompt from Frage, target from Antwort" in page
    report = json.loads(
        cli("data", "check", "fakten.csv", "--columns", "target=Bemerkung", "--json").stdout
    )
    assert report["columns"] == {"target": ["Bemerkung"], "prompt": ["Frage"]}


def test_bare_facts_are_scored_on_rephrasings_that_are_named_as_made(cli, tiny):
    Path("bare.jsonl").write_text(
        lines([{"prompt": f["prompt"], "target": f["target"]} for f in FACTS])
    )
    cli("edit", "bare.jsonl", "--model", tiny, "--free-answers", "0", "--out", "o")
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["after"]["generalization"] is not None
    said = "on rephrasings made by English patterns, of 5 of 5 edits"
    assert summary["remarks"]["generalization"] == said
    assert said in Path("o/report.md").read_text()
    assert all(not row["rephrases"] for row in json.loads(cli("find", "o", "?", "--json").stdout))
    scored = json.loads(cli("eval", "o", "--free-answers", "0", "--json").stdout)
    assert scored["scores"]["generalization"] == summary["after"]["generalization"]
    assert scored["remarks"]["generalization"] == said
    cli("revert", "o", "--edit", "2")
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["remarks"]["generalization"].endswith("of 4 of 4 edits")
    cli("edit", "facts.jsonl", "--model", tiny, "--free-answers", "0", "--out", "p")
    assert "generalization" not in json.loads(Path("p/summary.json").read_text())["remarks"]


def test_columns_without_a_file_are_refused(refused, tiny):
    sentence = refused("run", "--model", tiny, "--columns", "prompt=A")
    assert sentence == "--columns names columns of a file of facts: give the file with --data."


CONTRADICTION = [
    {"prompt": "who is X ?", "target": "Ann"},
    {"prompt": "Who is X?", "target": "Bob"},
    {"prompt": "Who is Y?", "target": "one\ntwo"},
]


def test_what_is_to_be_looked_at_is_one_table_and_its_exit_code_is_chosen(cli, refused):
    Path("facts.jsonl").write_text(lines(CONTRADICTION))
    page = cli("data", "check", "facts.jsonl").stdout
    assert "an earlier row gives another answer" in page
    assert "2 (as 1)" in page
    assert "the answer has several lines" in page
    sentence = refused("data", "check", "facts.jsonl", "--strict")
    assert sentence == (
        "Facts are to be looked at (1: an earlier row gives another answer; "
        "1: the answer has several lines). Correct them, or leave out --strict."
    )
    Path("facts.jsonl").write_text(lines(FACTS))
    cli("data", "check", "facts.jsonl", "--strict")


def test_a_run_shows_what_is_to_be_looked_at_or_refuses_it(cli, refused, tiny):
    Path("facts.jsonl").write_text(lines(CONTRADICTION))
    run = ("edit", "facts.jsonl", "--model", tiny, "--free-answers", "0", "--out", "o")
    sentence = refused(*run, "--strict")
    assert sentence.startswith("Facts are to be looked at (1: an earlier row gives another answer")
    assert not Path("o").exists()
    assert "an earlier row gives another answer" in cli(*run).stderr
    page = cli("edit", "facts.jsonl", "--append", "o", "--free-answers", "0").stderr
    assert "the run has it already" in page
    page = cli("data", "check", "facts.jsonl", "--append", "o").stdout
    assert "the run has it already" in page


def test_a_model_is_asked_what_it_knows_unless_its_tokenizer_will_do(cli, tiny, monkeypatch):
    from ultraedit.models import generation, loading

    monkeypatch.setattr(
        generation, "generate", lambda model, prompts, **_: ["Dutch"] * len(prompts)
    )
    page = json.loads(cli("data", "check", "facts.jsonl", "--model", tiny, "--json").stdout)
    assert [case["row"] for case in page["findings"]["known"]["examples"]] == [1, 4]
    monkeypatch.setattr(loading, "load", None)
    check = ("data", "check", "facts.jsonl", "--model", tiny, "--ask-first", 0, "--json")
    page = json.loads(cli(*check).stdout)
    assert page["findings"] == {}
    assert page["tokens"]["max"] > 0
    Path("facts.jsonl").write_text(lines([*FACTS, FACTS[0] | {"target": "French " * 20}]))
    page = json.loads(cli(*check, "--answer-tokens", 19).stdout)
    assert [case["row"] for case in page["findings"]["long_answer"]["examples"]] == [6]
    assert "long_answer" not in json.loads(cli(*check).stdout)["findings"]


@pytest.fixture
def without_model(monkeypatch):
    """A model that cannot be loaded: what is refused must be refused before."""
    from ultraedit.runs.base_model import ModelSource

    def load(source):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(ModelSource, "load", load)


def test_a_folder_that_cannot_be_written_is_refused_before_the_model_is_loaded(
    refused, tiny, without_model
):
    sentence = refused("edit", "facts.jsonl", "--model", tiny, "--out", "/proc/x")
    assert sentence.startswith("The folder /proc/x cannot be written: ")
    assert sentence.endswith(". Choose another one with --out.")


def test_a_fact_that_is_too_long_is_refused_before_the_model_is_loaded(
    refused, tiny, without_model
):
    Path("facts.jsonl").write_text(lines([*FACTS, {"prompt": "Vienna " * 400, "target": "x"}]))
    sentence = refused("edit", "facts.jsonl", "--model", tiny, "--out", "o")
    assert sentence.startswith("Row 6: The prompt 'Vienna Vienna")
    assert "but the model reads at most 256" in sentence
    assert not Path("o").exists()
    fact = FACTS[0] | {"rephrases": ["Vienna " * 400]}
    Path("facts.jsonl").write_text(lines([fact]))
    sentence = refused("edit", "facts.jsonl", "--model", tiny, "--out", "o")
    assert sentence.startswith("Edit 1 (generalization): The prompt 'Vienna Vienna")


def test_a_snapshot_that_is_gone_is_refused_before_the_model_is_loaded(cli, refused, tiny, request):
    cli("edit", "facts.jsonl", "--model", tiny, "--free-answers", "0", "--out", "o")
    (snapshot,) = Path("o/state").glob("*.safetensors")
    snapshot.unlink()
    request.getfixturevalue("without_model")
    for command in (["edit", "facts.jsonl", "--append", "o"], ["revert", "o", "--edit", "1"]):
        sentence = refused(*command)
        assert sentence.startswith(f"The snapshot {snapshot} is gone, from which turn 1 is")
        assert sentence.endswith("`ultraedit verify o` says what else is missing.")

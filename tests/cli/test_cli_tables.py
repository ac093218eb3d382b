"""A table of facts from the command line: its columns, a look at it, a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS

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


def test_columns_without_a_file_are_refused(refused, tiny):
    sentence = refused("run", "--model", tiny, "--columns", "prompt=A")
    assert sentence == "--columns names columns of a file of facts: give the file with --data."

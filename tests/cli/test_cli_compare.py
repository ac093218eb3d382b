"""``ultraedit compare`` on the command line, with real runs of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS, lines
from tests.report.runs import write_run
from ultraedit.runs.store import JOURNAL, Journal


@pytest.fixture
def runs(cli, tiny):
    """Two runs of the same facts, and one of others."""

    def run(out, *more):
        words = ["--model", tiny, "--edits-per-turn", 2, "--no-save-model", "--dtype", "float32"]
        cli("run", *words, "--out", out, *more)

    run("small", "--data", "facts.jsonl", "--eta", 1e-4)
    run("large", "--data", "facts.jsonl", "--eta", 1e-2, "--evaluate-every", 1)
    Path("others.jsonl").write_text(lines(FACTS[:2]))
    run("others", "--data", "others.jsonl", "--eta", 1e-2)


def test_runs_are_compared_in_the_terminal_and_on_a_page(cli, runs):
    done = cli("compare", "small", "large", "others", "--out", "c.html")
    assert "Warning: others is left out: its facts are not those of small" in done.stderr
    assert "forced efficacy" in done.stdout
    eta = next(line.split() for line in done.stdout.splitlines() if line.startswith("eta"))
    assert eta == ["eta", "0.0001", "0.01"]
    page = Path("c.html").read_text()
    assert "others is left out" in page
    assert page.count("<svg") == 2


def test_the_comparison_is_printed_as_json(cli, runs):
    found = json.loads(cli("compare", "small", "large", "others", "--json").stdout)
    assert [each["name"] for each in found["runs"]] == ["small", "large"]
    summary = json.loads(Path("large/summary.json").read_text())
    large = found["runs"][1]
    assert large["forced"]["efficacy"] == summary["after"]["efficacy"]
    assert large["seconds_per_100"] == pytest.approx(100 * summary["edit_seconds"] / 5)
    assert found["settings"]["eta"] == [1e-4, 1e-2]
    assert [each["name"] for each in found["left_out"]] == ["others"]
    assert found["warnings"]


def test_another_model_of_the_same_name_is_another_model(cli, runs):
    journal = Journal.open(Path("large", JOURNAL), write=True)
    journal.set_value("fingerprint", "0" * 64)
    journal.close()
    found = json.loads(cli("compare", "small", "large", "--json").stdout)
    assert found["left_out"][0]["name"] == "large"
    assert "its unedited model" in found["left_out"][0]["why"]


def test_a_rollback_takes_the_page_away_and_verify_knows_it(cli, runs):
    cli("verify", "large")
    page = Path("large/report.html")
    page.write_text(page.read_text() + " ")
    assert "report.html" in cli("verify", "large", code=1).stdout
    cli("rollback", "large", "--to-turn", 1)
    assert not page.exists()


def test_what_is_wrong_with_a_comparison_is_said_in_a_line(refused):
    write_run(Path("one"))
    for words, said in (
        (["one"], "needs two runs or more"),
        (["one", "nowhere"], "nowhere is not a finished run"),
        (["one", "one"], "named twice"),
        (["one", "two", "--out", "c.txt"], "--out must end with .html or .md, got c.txt."),
    ):
        assert said in refused("compare", *words)

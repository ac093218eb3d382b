"""``run --editor in-context`` and what takes its model: ask, eval, compare, export."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.conftest import FACTS


@pytest.fixture
def made(cli, tiny, folder):
    cli(
        *("run", "--editor", "in-context", "--model", tiny, "--data", "facts.jsonl"),
        *("--edits-per-turn", 2, "--dtype", "float32", "--set", "k=2", "--out", "run"),
    )
    return folder / "run"


def test_a_run_is_asked_scored_compared_and_carried_away(cli, refused, made, tiny):
    summary = json.loads((made / "summary.json").read_text())
    assert summary["remarks"]["facts"] == "5 to choose from, 0 replaced by newer ones"
    prompt = FACTS[0]["prompt"]
    asked = cli("ask", made / "model", prompt, "--dtype", "float32").stdout
    assert asked != cli("ask", tiny, prompt, "--dtype", "float32").stdout
    words = ("eval", made / "model", "--data", "facts.jsonl", "--dtype", "float32")
    scored = json.loads(cli(*words, "--free-answers", 0, "--json").stdout)
    again = json.loads(cli("eval", made, "--free-answers", 0, "--json").stdout)
    for name in ("efficacy", "generalization", "specificity"):
        assert scored["scores"][name] == summary["after"][name] == again["scores"][name]
    assert "put in front of each question" in refused("export", made, "--as", "lora", "--out", "x")
    assert "which has no memories" in refused("export", made, "--as", "wise", "--out", "x")
    cli("run", "--model", tiny, "--data", "facts.jsonl", "--dtype", "float32", "--out", "other")
    assert "in-context" in cli("compare", made, "other").stdout
    cli("export", made, "--as", "in-context", "--out", "away")
    shutil.rmtree(made)
    assert cli("ask", "away", prompt, "--dtype", "float32").stdout == asked

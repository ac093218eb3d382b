"""``run --editor wise`` and what takes its model: ask, eval, export."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.conftest import FACTS, lines

OPTIONS = ("edit_lr=4", "n_iter=6", "contexts=1", "alpha=0.5", "beta=2", "gamma=1", "unrelated=2")


@pytest.fixture
def folder(cli, tiny, tmp_path):
    facts = tmp_path / "facts.jsonl"
    facts.write_text(lines(FACTS))
    options = [word for option in OPTIONS for word in ("--set", option)]
    cli(
        *("run", "--editor", "wise", "--model", tiny, "--data", facts, "--out", tmp_path / "run"),
        *("--modules", "layers.0.mlp.down_proj", "--edits-per-turn", 2, "--dtype", "float32"),
        *("--free-answers", 1, *options),
    )
    return tmp_path / "run"


def test_a_wise_run_is_asked_scored_and_carried_away(cli, refused, folder, tmp_path):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["after"]["efficacy"] > summary["before"]["efficacy"]
    assert "a side memory and 0 closed" in summary["remarks"]["memories"]
    prompt = FACTS[0]["prompt"]
    asked = cli("ask", folder / "model", prompt, "--dtype", "float32").stdout
    answer = next(
        row["after"]
        for row in map(json.loads, (folder / "answers.jsonl").read_text().splitlines())
        if row["prompt"] == prompt
    )
    assert asked.startswith(f"{answer}") or answer.startswith(asked.strip())
    words = ("eval", folder / "model", "--data", tmp_path / "facts.jsonl", "--dtype", "float32")
    scored = json.loads(cli(*words, "--free-answers", 0, "--json").stdout)
    again = json.loads(cli("eval", folder, "--free-answers", 0, "--json").stdout)
    for name in ("efficacy", "generalization", "specificity"):
        assert scored["scores"][name] == summary["after"][name] == again["scores"][name]
    said = refused("export", folder, "--as", "model", "--out", tmp_path / "away")
    assert "a router chooses between them" in said
    cli("export", folder, "--as", "wise", "--out", tmp_path / "away")
    shutil.rmtree(folder)
    assert cli("ask", tmp_path / "away", prompt, "--dtype", "float32").stdout == asked

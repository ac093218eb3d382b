"""`ultraedit tune` as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import FACTS, lines

SEARCH = ("tune", "--rows", "20", "--held-out", "20", "--modules", "layers.[0].mlp.down_proj")


@pytest.fixture
def many(folder):
    rows = [
        fact | {"prompt": f"{fact['prompt']} Say it {n} times."} for n in range(9) for fact in FACTS
    ]
    (folder / "many.jsonl").write_text(lines(rows))
    return "many.jsonl"


def test_tune_shows_its_front_and_run_takes_its_preset(cli, tiny, many):
    page = cli(*SEARCH, "--model", tiny, "--data", many, "--out", "t.toml").stdout
    assert "Pareto front on 20 rows" in page and "chosen" in page
    assert "on held-out rows" in page and "without tuning" in page
    assert f"ultraedit run --model {tiny} --data many.jsonl --preset t.toml" in page
    args = ("--model", tiny, "--data", many, "--limit", "5", "--preset", "t.toml", "--dry-run")
    plan = json.loads(cli("run", *args, "--json").stdout)
    assert plan["modules_from"] == "tuned t.toml"
    again = json.loads(
        cli(*SEARCH, "--model", tiny, "--data", many, "--out", "t.toml", "--json").stdout
    )
    assert again["best"]["candidate"]["modules"] == ["layers.[0].mlp.down_proj"]
    assert not again["interrupted"] and again["held_out"]["rows"] == 20


def test_what_is_missing_is_named(refused, tiny):
    assert refused("tune", "--model", tiny) == "--data is missing. Give it."
    assert "--out must end in .toml" in refused(
        *SEARCH, "--model", tiny, "--data", "facts.jsonl", "--out", "preset"
    )

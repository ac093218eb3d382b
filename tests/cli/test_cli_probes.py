"""``--probe`` of ``run`` and ``eval``."""

from __future__ import annotations

import json
from pathlib import Path


def settings(folder):
    return json.loads((Path(folder) / "config.json").read_text())["settings"]


def test_probes_of_a_run_stand_in_its_table_and_what_is_left_out_is_said(cli, tiny):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--limit", 2, "--out", "out")
    page = cli(*args, "--probe", "few-shot", "--probe", "reverse", "--probe", "chat").stdout
    assert settings("out")["probe"] == ["chat", "few-shot", "reverse"]
    assert page.splitlines()[0].split()[:3] == ["metric", "free", "before"]
    assert "the model has no chat template" in page
    assert "reverse" in page
    # Both facts have one unrelated question, which is an example for the other questions alone.
    assert "few-shot efficacy" in page
    assert "few-shot specificity" not in page


def test_an_evaluation_probes_a_model_and_a_run(cli, tiny):
    args = ("eval", tiny, "--data", "facts.jsonl", "--free-answers", 0, "--json", "--probe", "all")
    found = json.loads(cli(*args).stdout)
    assert found["scores"]["probes"].keys() == {
        *("few-shot efficacy", "few-shot generalization"),
        *("reverse", "affirmed", "negated"),
    }
    assert found["remarks"].keys() == {"chat"}
    cli("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", "--probe", "few-shot")
    own = json.loads(cli("eval", "out", "--json").stdout)
    summary = json.loads(Path("out/summary.json").read_text())
    assert own["scores"] == summary["after"]
    other = json.loads(cli("eval", "out", "--json", "--probe", "chat").stdout)
    assert other["scores"]["probes"] == {}
    assert other["remarks"].keys() == {"chat"}


def test_a_probe_that_does_not_exist_is_refused_before_any_work(cli, tiny):
    for args in (
        ("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", "--probe", "chats"),
        ("eval", tiny, "--data", "facts.jsonl", "--probe", "chats"),
    ):
        result = cli(*args, code=2)
        assert "There is no probe 'chats'. Did you mean: chat?" in result.stderr
    assert not Path("out").exists()

"""``ultraedit plan`` needs a config and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def config_alone(tiny, tmp_path):
    shutil.copy(Path(tiny) / "config.json", tmp_path)
    return tmp_path


def test_a_folder_with_a_config_alone_is_planned(cli, config_alone):
    for model in (config_alone, config_alone / "config.json"):
        page = cli("plan", str(model), "--device", "cpu").stdout
        for text in ("peak memory", "fits 8 GB", "a turn takes", "layers.["):
            assert text in page


def test_the_plan_as_json_adds_up(cli, config_alone):
    args = ("plan", str(config_alone), "--device", "cpu", "--dtype", "float32", "--json")
    small = json.loads(cli(*args, "--edits-per-turn", "10").stdout)
    large = json.loads(cli(*args, "--edits-per-turn", "1000").stdout)
    memory = small["memory"]
    kept = sum(memory[part] for part in ("runtime", "weights", "copies", "rows"))
    assert memory["editing"] == kept + max(memory["batch"], memory["solve"])
    assert small["peak_bytes"] == max(memory["loading"], memory["editing"])
    assert large["memory"]["rows"] == 100 * memory["rows"]
    assert large["flops_per_turn"] > 50 * small["flops_per_turn"] > 0
    assert small["seconds_per_turn"] > 0


def test_more_answer_tokens_than_tokens_is_refused(refused, config_alone):
    error = refused("plan", config_alone, "--tokens", "4", "--answer-tokens", "5")
    assert error == "--answer-tokens must be at most --tokens, got 5 and 4."


def test_models_show_and_a_dry_run_read_no_weights(cli, config_alone, tiny):
    page = cli("models", "show", str(config_alone)).stdout
    assert page.splitlines()[1:] != []
    assert "mlp.down_proj" in page
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tiny) / name, config_alone)
    facts = config_alone / "facts.jsonl"
    facts.write_text('{"prompt": "Who was the first president?", "target": "Ada"}\n')
    args = ("run", "--model", str(config_alone), "--data", str(facts), "--dry-run", "--json")
    assert json.loads(cli(*args).stdout)["predicted"]["peak_bytes"] > 0

"""``ultraedit plan`` needs a config and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.tiny import ARCHITECTURES


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
    parts = ("runtime", "weights", "copies", "rows", "batch", "solve", "saving")
    assert memory["editing"] == sum(memory[part] for part in parts)
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


def test_a_streamed_plan_leaves_the_layers_below_in_their_file(cli, config_alone):
    ARCHITECTURES["llama"](6).save_pretrained(config_alone)
    args = ("plan", str(config_alone), "--device", "cpu", "--dtype", "float32", "--json")
    args += ("--modules", "layers.[4-5].mlp.down_proj")
    plain = json.loads(cli(*args).stdout)
    streamed = json.loads(cli(*args, "--device-map", "stream").stdout)
    layer = streamed["memory"]["streamed"] // 4
    assert layer == 4 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32 + 2 * 32)
    assert streamed["memory"]["weights"] == plain["memory"]["weights"] - 3 * layer
    assert streamed["memory"]["states"] == 2 * 4 * 32 * 100 * 16
    assert plain["memory"]["streamed"] == plain["memory"]["states"] == 0
    assert "reads" in cli(*args[:-3], *args[-2:], "--device-map", "stream").stdout


def test_a_dry_run_of_a_streamed_run_is_planned_as_one(cli, tiny):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--dry-run", "--json")
    args += ("--modules", "layers.1.mlp.down_proj", "--eta", "auto", "--device-map", "stream")
    predicted = json.loads(cli(*args).stdout)["predicted"]
    assert predicted["device_map"] == "stream"
    assert predicted["memory"]["streamed"] > 0
    assert predicted["memory"]["states"] > 0


def test_a_model_that_is_spread_gets_the_number_of_cards(cli, config_alone):
    args = ("plan", str(config_alone), "--device", "cpu", "--device-map", "auto")
    assert "spread evenly: fits 1 of 8 GB" in " ".join(cli(*args).stdout.split())
    assert json.loads(cli(*args, "--json").stdout)["cards"]["80 GB"] == 1


def test_there_is_nothing_to_stream_below_the_first_layer(refused, config_alone):
    args = ("plan", config_alone, "--modules", "layers.0.mlp.down_proj", "--device-map", "stream")
    assert refused(*args).startswith("There is no layer below")
    assert "device-map must be 'auto' or 'stream'" in refused(*args[:-1], "disk")


def test_a_plan_says_whom_it_is_for_and_what_another_editor_keeps_besides(cli, config_alone):
    args = ("plan", str(config_alone), "--device", "cpu", "--modules", "layers.[0-1].mlp.down_proj")
    assert "planned for     ultraedit" in cli(*args).stdout
    found = {
        name: json.loads(cli(*args, "--editor", name, "--json").stdout)["kept_beyond"]
        for name in ("ultraedit", "memit", "ft-m", "rect")
    }
    assert found["ultraedit"] == {}
    assert found["memit"]["second moments"] == 2 * 4 * 48**2
    assert found["rect"] == found["memit"]
    assert found["ft-m"] == {"float32 copies of the edited weights": 6 * 4 * 2 * 48 * 32}
    page = " ".join(cli(*args, "--editor", "memit").stdout.split())
    assert "ultraedit; memit takes other time, and memory of its own." in page
    assert "second moments 18 KiB" in page


def test_a_plan_counts_the_float32_weights_that_a_turn_of_anchored_is_made_with(
    cli, config_alone, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    args = ("plan", str(config_alone), "--editor", "anchored", "--device", "cpu", "--json")
    kept = {
        dtype: json.loads(cli(*args, "--dtype", dtype).stdout) for dtype in ("bfloat16", "float32")
    }
    name = "the model in float32, while a turn is made"
    assert kept["bfloat16"]["kept_beyond"][name] == 4 * kept["bfloat16"]["parameters"]
    assert name not in kept["float32"]["kept_beyond"]


def test_a_dry_run_of_several_passes_says_that_its_time_is_that_of_one(cli, tiny):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--dry-run")
    Path("facts.jsonl").write_text(json.dumps({"prompt": "The sea is", "target": "wet"}) + "\n")
    pages = {eta: " ".join(cli(*args, "--eta", eta).stdout.split()) for eta in ("1e-3", "auto")}
    assert "for each of at most 20 passes" in pages["auto"]
    assert "pass" not in pages["1e-3"].partition("a turn takes")[2]

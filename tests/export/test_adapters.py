"""Adapters that servers take: one rank, all layers, and the scale set while a server runs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.test_cli_export import do_run
from tests.export.test_llama_cpp import PAIRS, engine  # noqa: F401
from ultraedit.export.peft_adapter import compress, merged, of_one_rank
from ultraedit.models import load

IDS = torch.arange(24).view(2, 12)


@pytest.fixture
def upper(made, folder):
    """A run that edits the upper one of two layers, and a narrow module of it."""
    modules = "layers.1.mlp.down_proj,layers.1.self_attn.k_proj"
    return do_run(made / "base.gguf", "facts.jsonl", "upper", "--modules", modules)


def test_all_layers_get_an_adapter_and_the_others_do_nothing(cli, upper, made):
    peft = pytest.importorskip("peft")
    words = ("export", upper, "--as", "lora", "--no-score", "--rank", "5")
    cli(*words, "--out", "plain")
    cli(*words, "--all-layers", "--out", "all")
    config = json.loads(Path("all/adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == sorted(
        f"model.layers.{layer}.{name}"
        for layer in (0, 1)
        for name in ("mlp.down_proj", *(f"self_attn.{each}_proj" for each in "qkv"))
    )
    assert (config["r"], config["lora_alpha"], config["rank_pattern"]) == (5, 5, {})
    tensors = load_file("all/adapter_model.safetensors")
    assert all(5 in tensor.shape for tensor in tensors.values())
    zeros = [name for name, tensor in tensors.items() if not tensor.any()]
    edited = ("layers.1.mlp.down_proj", "layers.1.self_attn.k_proj")
    assert len(zeros) == 2 * 6
    assert not any(each in name for name in zeros for each in edited)
    logits = []
    for name in ("plain", "all"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # of transformers
            base = load(str(made / "base.gguf"), dtype="float32").model
            model = peft.PeftModel.from_pretrained(base, name).eval()
        with torch.no_grad():
            logits.append(model(IDS).logits)
    assert torch.equal(*logits)
    with torch.no_grad():
        untouched = load(str(made / "base.gguf"), dtype="float32").model(IDS).logits
    assert (logits[0] - untouched).abs().max() > 0.01


def test_a_number_is_the_rank_of_every_module_also_of_narrow_ones(cli, upper):
    cli("export", upper, "--as", "lora", "--no-score", "--rank", "40", "--out", "adapter")
    config = json.loads(Path("adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (40, 40)
    assert config["rank_pattern"] == config["alpha_pattern"] == {}
    tensors = load_file("adapter/adapter_model.safetensors")
    narrow = next(t for name, t in tensors.items() if "k_proj.lora_A" in name)
    assert narrow.shape == (40, 64)  # though its weight has 32 rows
    assert not narrow[32:].any()


def test_padding_to_one_rank_changes_nothing_that_is_added():
    generator = torch.Generator().manual_seed(0)
    changes = {
        "wide": torch.randn(12, 10, generator=generator),
        "narrow": torch.randn(12, 4, generator=generator),
    }
    exact = compress(changes, 8)
    assert [module.rank for module in exact.values()] == [8, 4]
    padded = of_one_rank(exact, 8)
    assert [module.rank for module in padded.values()] == [8, 8]
    for path, added in merged(exact).items():
        torch.testing.assert_close(merged(padded)[path], added)
    narrow = compress({"narrow": changes["narrow"]}, 8)
    assert of_one_rank(narrow, 8) == narrow


def test_an_adapter_is_taken_out_and_in_while_the_server_runs(engine, cli, upper, made):  # noqa: F811
    words = ("export", upper, "--as", "lora", "--format", "gguf", "--no-score", "--energy", "1")
    cli(*words, "--out", "lora.gguf")
    plain = engine(made / "base.gguf")
    server = engine(made / "base.gguf", lora=Path("lora.gguf"))
    (item,) = plain.encode(PAIRS[:1])
    without, edited = (each.predict([item])[0] for each in (plain, server))
    assert edited != without

    def predict(**more):
        beginnings = [[*item.prompt_ids, *item.answer_ids[:at]] for at in range(len(without))]
        body = {"prompt": beginnings, "n_predict": 1, "return_tokens": True, "temperature": 0}
        rows = server._post("/completion", body | more)
        return tuple(row["tokens"][0] for row in sorted(rows, key=lambda row: row["index"]))

    assert predict(lora=[{"id": 0, "scale": 0.0}]) == without
    assert predict(lora=[{"id": 0, "scale": 1.0}]) == edited
    server._post("/lora-adapters", [{"id": 0, "scale": 0.0}])
    # What the server keeps of a prompt is of the scale at which it was read.
    assert predict(cache_prompt=False) == without
    server._post("/lora-adapters", [{"id": 0, "scale": 1.0}])
    assert predict(cache_prompt=False) == edited

"""A checkpoint with an image encoder, in several files, through all commands that save models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.checkpoints import OTHERS, change_config, checkpoint, fp8, other_files, same, tensors
from tests.tiny import tiny_model

RUN = ("--eta", "auto", "--free-answers", "0", "--modules", "[0-1].mlp.down_proj")


@pytest.fixture
def source(folder) -> Path:
    """A checkpoint in bfloat16 with images and all that lies beside weights."""
    lm = tiny_model("gemma3-multimodal", dtype=torch.bfloat16)
    return checkpoint(lm, folder / "source", shards="60KB", others=True)


def edited_tensors(source: Path, saved: Path) -> set[str]:
    new, old = tensors(saved), tensors(source)
    assert new.keys() == old.keys()
    return {name for name in old if not same(new[name], old[name])}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_run_its_exports_and_its_delta_all_save_the_source_with_the_edits(
    cli, source, folder, dtype
):
    cli("edit", "facts.jsonl", "--model", source, "--out", "run", "--dtype", dtype, *RUN)
    assert "is the unedited one plus the change" in cli("verify", "run").stdout
    cli("export", "run", "--as", "model", "--out", "exported")
    cli("export", "run", "--as", "delta", "--out", "delta.safetensors")
    cli("apply", source, "delta.safetensors", "--out", "applied")
    changed = edited_tensors(source, folder / "run" / "model")
    assert changed == {
        f"language_model.model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1)
    }
    theirs = other_files(source)
    assert OTHERS.keys() < theirs.keys()
    for saved in ("run/model", "exported", "applied"):
        assert edited_tensors(folder / "run" / "model", folder / saved) == set()
        ours = other_files(folder / saved)
        assert ours.keys() == theirs.keys()
        differ = {name for name in theirs if ours[name] != theirs[name]}
        allowed = set() if saved == "run/model" else {"README.md"}
        # Where edited tensors are wider than those of the source, the index has another size.
        wider = {"model.safetensors.index.json"} if dtype == "float32" else set()
        assert differ == allowed | wider
    cli("rollback", "run", "--to-turn", "0")
    assert edited_tensors(source, folder / "run" / "model") == set()


def test_memories_lie_beside_the_source_as_it_was(cli, source, folder):
    given = ("--model", source, "--data", "facts.jsonl", "--out", "run", "--free-answers", 0)
    cli("run", "--editor", "wise", *given, "--modules", "1.mlp.down_proj", "--dtype", "float32")
    base = folder / "run" / "model" / "base"
    assert other_files(base) == other_files(source)
    assert edited_tensors(source, base) == set()
    assert "is the unedited one plus the change" in cli("verify", "run").stdout


def test_a_float8_model_is_edited_verified_and_applied(cli, folder):
    source = fp8(folder / "source")
    facts = json.loads(cli("doctor", source, "--json").stdout)
    assert facts["verdict"]["editable"] and facts["quantised"] == "fp8"
    cli("edit", "facts.jsonl", "--model", source, "--out", "run", *RUN)
    assert "is the unedited one plus the change" in cli("verify", "run").stdout
    cli("export", "run", "--as", "delta", "--out", "delta.safetensors")
    cli("apply", source, "delta.safetensors", "--out", "applied")
    config = json.loads((folder / "applied" / "config.json").read_text())
    skipped = config["quantization_config"]["modules_to_not_convert"]
    assert {"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"} < set(skipped)


@pytest.mark.parametrize("method", ["gptq", "awq", "compressed-tensors"])
def test_weights_that_stay_packed_are_refused_by_every_command_alike(cli, refused, folder, method):
    checkpoint(tiny_model(), folder / "packed")
    change_config(folder / "packed", quantization_config={"quant_method": method, "bits": 4})
    reason = f"packed cannot be edited: its weights are quantized ({method}), and an edited one"
    run = ("--model", "packed", "--data", "facts.jsonl")
    for command in (
        ("doctor", "packed"),
        ("plan", "packed"),
        ("edit", "facts.jsonl", "--model", "packed", "--out", "o"),
        ("run", *run, "--out", "o"),
        ("run", *run, "--out", "o", "--dry-run"),
    ):
        assert reason in refused(*command)
    assert not (folder / "o").exists()


def test_a_model_that_cannot_be_run_at_all_is_said_to_be_so(cli, folder):
    checkpoint(tiny_model(), folder / "odd")
    change_config(folder / "odd", num_key_value_heads=4, head_dim=4)
    result = cli("doctor", "odd", code=2)
    assert "Traceback" not in result.stderr

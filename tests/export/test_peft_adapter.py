"""An adapter is the nearest change of its rank, and plain peft loads it to the same logits."""

from __future__ import annotations

import errno
import json
import os
import time
import warnings

import pytest
import torch
from safetensors.torch import load_file

from tests.changes import PATTERNS, random_change
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.export.peft_adapter import KEPT, compress, merged, save_lora, size_bytes
from ultraedit.models import find_modules, save
from ultraedit.models.weights import EditedWeights

IDS = torch.arange(24).view(2, 12)


@pytest.fixture(autouse=True)
def folder():
    """Nothing lies in the folders of these tests, not even the facts of the others here."""


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def mixed_change(model):
    """One module changed in few directions, the other in many, so that their ranks differ."""
    few, many = random_change(model, rank=3), random_change(model, seed=1)
    first, second = few
    return {first: few[first], second: many[second]}


@pytest.mark.parametrize("rank", ["auto", 4, 1000])
@pytest.mark.parametrize("arch", list(PATTERNS))
def test_peft_loads_the_adapter_to_the_logits_of_the_merged_model(arch, rank, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = tiny_model(arch)
    changes = mixed_change(model)
    modules = compress(changes, rank)
    save(model, tmp_path / "base")
    save_lora(tmp_path / "lora", modules, base=str(tmp_path / "base"), transposed=arch == "gpt2")
    untouched = logits(model.model)
    EditedWeights(find_modules(model.model, list(changes))).restore(merged(modules))
    ours = logits(model.model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # peft warns where a config does not suit its model.
        warnings.filterwarnings("ignore", category=FutureWarning)  # of transformers, about peft
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        loaded = peft.PeftModel.from_pretrained(base, tmp_path / "lora").eval()
        torch.testing.assert_close(logits(loaded), ours, rtol=1e-4, atol=1e-4)
        scalings = {
            path: loaded.base_model.model.get_submodule(path).scaling["default"] for path in changes
        }
        assert set(scalings.values()) == {1.0}
        torch.testing.assert_close(logits(loaded.merge_and_unload()), ours, rtol=1e-4, atol=1e-4)
    assert (ours - untouched).abs().max() > 0.1
    if rank == "auto":
        assert len({module.rank for module in modules.values()}) == 2


@pytest.mark.parametrize("arch", list(PATTERNS))
def test_the_full_rank_is_the_run_itself(arch):
    changes = random_change(tiny_model(arch))
    modules = compress(changes, 1000)
    for path, change in changes.items():
        assert modules[path].rank == modules[path].exact_rank == min(change.shape)
        assert modules[path].energy == pytest.approx(1)
        torch.testing.assert_close(merged(modules)[path], change, rtol=1e-4, atol=1e-5)


def test_auto_keeps_the_share_with_the_smallest_rank_for_each_module():
    changes = mixed_change(tiny_model("llama"))
    few, many = compress(changes).values()
    assert few.rank <= 3 < many.rank < 32
    for path, module in compress(changes).items():
        change = changes[path]
        kept = 1 - (change - module.factors.dense()).square().sum() / change.square().sum()
        assert float(kept) == pytest.approx(module.energy, abs=1e-5)
        assert module.energy >= KEPT
        one_less = compress({path: change}, max(module.rank - 1, 1))[path]
        assert one_less.energy < KEPT or module.rank == 1
    assert few.exact_rank == 3


def test_a_larger_share_takes_a_larger_rank():
    changes = random_change(tiny_model("llama"))
    ranks = [
        [module.rank for module in compress(changes, kept=kept).values()]
        for kept in (0.5, 0.9, 1.0)
    ]
    assert ranks[0] < ranks[1] < ranks[2] == [32, 32]


def test_a_module_that_did_not_change_gets_an_adapter_of_nothing():
    (module,) = compress({"layer": torch.zeros(6, 4)}).values()
    assert (module.rank, module.energy, module.exact_rank) == (1, 1.0, 0)
    assert not module.factors.dense().any()


def test_the_folder_says_what_the_tensors_are(tmp_path):
    modules = compress(mixed_change(tiny_model("llama")))
    save_lora(tmp_path / "lora", modules, base="org/tiny", transposed=False, card="# Card\n")
    assert sorted(os.listdir(tmp_path / "lora")) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert config["base_model_name_or_path"] == "org/tiny"
    assert config["target_modules"] == list(modules)
    assert config["lora_alpha"] == config["r"] == max(m.rank for m in modules.values())
    assert config["alpha_pattern"] == config["rank_pattern"]
    for path, module in modules.items():
        assert config["rank_pattern"].get(path, config["r"]) == module.rank
        down = tensors.pop(f"base_model.model.{path}.lora_A.weight")
        up = tensors.pop(f"base_model.model.{path}.lora_B.weight")
        assert torch.equal(down.T, module.factors.left)
        assert torch.equal(up.T, module.factors.right)
    assert not tensors
    assert size_bytes(modules) == sum(4 * m.rank * (48 + 32) for m in modules.values())


def test_the_modules_of_smollm2_take_seconds():
    generator = torch.Generator().manual_seed(0)
    changes = {str(layer): torch.randn(1536, 576, generator=generator) for layer in range(4)}
    start = time.perf_counter()
    modules = compress(changes)
    assert time.perf_counter() - start < 30
    assert all(0.99 <= module.energy < 0.992 for module in modules.values())


@pytest.mark.parametrize(("rank", "kept"), [(0, 0.9), (-2, 0.9), ("auto", 0.0), ("auto", 1.1)])
def test_a_rank_or_a_share_out_of_range_is_refused(rank, kept):
    with pytest.raises(ConfigError, match=r"rank must be auto or at least 1|above 0 and at most 1"):
        compress({}, rank, kept)


def test_what_is_there_already_is_not_replaced(tmp_path):
    (tmp_path / "mine").write_text("")
    modules = compress({"layer": torch.ones(6, 4)})
    with pytest.raises(ConfigError, match="is already there"):
        save_lora(tmp_path, modules, base="b", transposed=False)
    assert os.listdir(tmp_path) == ["mine"]
    save_lora(tmp_path / "new" / "folder", modules, base="b", transposed=False)
    assert (tmp_path / "new" / "folder" / "adapter_config.json").is_file()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"Cannot write .*lora: No space left on device"):
        save_lora(tmp_path / "lora", compress({"l": torch.ones(6, 4)}), base="b", transposed=False)
    assert os.listdir(tmp_path) == []

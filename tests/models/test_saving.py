"""A saved model is its source checkpoint with the edited tensors changed, and nothing else."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.checkpoints import (
    OTHERS,
    change_config,
    checkpoint,
    disturb,
    fp8,
    linear_paths,
    logits,
    mxfp4,
    other_files,
    reload,
    round_trip,
    same,
    tensors,
)
from tests.tiny import ARCHITECTURES, tiny_model
from tests.tools.doctor.test_doctor import mixture
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import Edit
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.session import edit
from ultraedit.models import checkpoint_writer as rewriting
from ultraedit.models import load, save
from ultraedit.models.checkpoint import CheckpointFolder, Piece, read_header
from ultraedit.models.fingerprint import fingerprint


@pytest.fixture(autouse=True)
def links(monkeypatch):
    """Small files too are linked where large ones would be."""
    monkeypatch.setattr(rewriting, "LINKED_FROM", 0)


# Round trips


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_comes_back_with_only_its_edited_tensors_changed(arch, tmp_path):
    source = checkpoint(tiny_model(arch, layers=3), tmp_path / "source", others=True)
    round_trip(source, tmp_path / "saved")
    assert (tmp_path / "saved" / "LICENSE").read_text() == "terms"


@pytest.mark.parametrize("kind", ["mixtral", "qwen2-moe"])
def test_packed_experts_stay_as_the_checkpoint_has_them(kind, tmp_path):
    source = checkpoint(mixture(kind), tmp_path / "source")
    assert any("experts.0." in name for name in tensors(source))  # packed on loading alone
    round_trip(source, tmp_path / "saved")


def test_a_vision_tower_is_kept_where_only_the_text_model_was_loaded(tmp_path):
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    lm = tiny_model()
    text = lm.model.config.to_dict() | {
        "model_type": "qwen3_5_text",
        "num_hidden_layers": 4,
        "head_dim": 8,
        **{f"linear_num_{kind}_heads": n for kind, n in (("value", 4), ("key", 2))},
        **{f"linear_{kind}_head_dim": 8 for kind in ("key", "value")},
    }
    vision = {"hidden_size": 32, "depth": 1, "num_heads": 4, "intermediate_size": 48}
    vision |= {"out_hidden_size": 32, "patch_size": 14}
    config = Qwen3_5Config(text_config=text, vision_config=vision)
    whole = Qwen3_5ForConditionalGeneration(config)
    lm = type(lm)(whole, lm.tokenizer, name="images", source="images")
    source = checkpoint(lm, tmp_path / "source", others=True)
    saved = round_trip(source, tmp_path / "saved")
    assert type(saved.model).__name__ == "Qwen3_5ForCausalLM"
    assert any("visual" in name for name in tensors(tmp_path / "saved"))
    assert type(reload(tmp_path / "saved", torch.float32)) is Qwen3_5ForConditionalGeneration


@pytest.mark.parametrize("linked", [True, False])
def test_of_several_files_only_those_with_edited_tensors_are_written(linked, tmp_path, monkeypatch):
    if not linked:
        monkeypatch.setattr(rewriting, "LINKED_FROM", 2**40)
    source = checkpoint(tiny_model(layers=4), tmp_path / "source", shards="40KB", others=True)
    files = sorted(path.name for path in source.glob("*.safetensors"))
    assert len(files) > 3
    path = "model.layers.2.mlp.down_proj"
    round_trip(source, tmp_path / "saved", paths=[path])
    index = json.loads((source / "model.safetensors.index.json").read_text())["weight_map"]
    for file in files:
        one, two = source / file, tmp_path / "saved" / file
        if file == index[f"{path}.weight"]:
            assert not one.samefile(two)
        elif linked and not rewriting._reflink(one, tmp_path / "reflink"):
            assert one.samefile(two)
        else:
            assert not one.samefile(two) and one.read_bytes() == two.read_bytes()
    for name in other_files(source):
        assert not (source / name).samefile(tmp_path / "saved" / name)


def test_a_saved_model_is_saved_again_without_touching_its_source(tmp_path):
    source = checkpoint(tiny_model(layers=4), tmp_path / "source", shards="40KB", others=True)
    first = round_trip(source, tmp_path / "saved", paths=["model.layers.0.mlp.down_proj"])
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    disturb(first, linear_paths(first))
    save(first, tmp_path / "saved")  # in place of the older one, whose files are links
    assert torch.equal(logits(reload(tmp_path / "saved", torch.float32)), logits(first.model))
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_a_model_is_saved_over_its_own_source_and_edited_again(tmp_path):
    folder = checkpoint(tiny_model("gpt2"), tmp_path / "m", others=True)
    lm = load(str(folder), dtype="float32", device="cpu")
    for paths in (linear_paths(lm)[:2], linear_paths(lm)[1:3]):
        disturb(lm, paths)
        save(lm, folder)
        assert torch.equal(logits(reload(folder, torch.float32)), logits(lm.model))
    assert set(OTHERS) < set(other_files(folder))


def test_any_weight_that_was_changed_is_saved_tied_ones_too(tmp_path):
    source = checkpoint(tiny_model("gemma3"), tmp_path / "source")
    lm = load(str(source), dtype="float32", device="cpu")
    with torch.no_grad():
        lm.model.model.norm.weight.add_(0.5)
        lm.model.lm_head.weight[:20].mul_(0.5)  # which is the embedding
    save(lm, tmp_path / "saved")
    new, old = tensors(tmp_path / "saved"), tensors(source)
    changed = {name for name in old if not same(new[name], old[name])}
    assert changed == {"model.norm.weight", "model.embed_tokens.weight"}
    assert torch.equal(logits(reload(tmp_path / "saved", torch.float32)), logits(lm.model))


def test_a_model_that_was_not_edited_is_its_source(tmp_path):
    source = checkpoint(tiny_model(), tmp_path / "source", others=True)
    save(load(str(source), dtype="bfloat16", device="cpu"), tmp_path / "saved")
    for path in source.rglob("*"):
        if path.is_file():
            assert (tmp_path / "saved" / path.relative_to(source)).read_bytes() == path.read_bytes()


# Precision


@pytest.mark.parametrize(
    ("stored", "run", "kept"),
    [
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
        (torch.float32, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),  # bfloat16 would lose a part of the edits
    ],
)
def test_an_edited_tensor_keeps_its_precision_unless_that_would_lose_edits(
    stored, run, kept, tmp_path
):
    source = checkpoint(tiny_model(dtype=stored), tmp_path / "source")
    round_trip(source, tmp_path / "saved", run)
    name = "model.layers.1.mlp.down_proj.weight"
    assert tensors(tmp_path / "saved")[name].dtype == kept
    assert tensors(tmp_path / "saved")["model.norm.weight"].dtype == stored


def test_wider_numbers_are_aligned_behind_others_of_odd_sizes(tmp_path):
    stored = {
        "a.weight": torch.randn(3).to(torch.bfloat16),
        "b.weight": torch.randn(2, 5).to(torch.bfloat16),
        "c.mask": torch.ones(3, dtype=torch.uint8),
        "d.weight": torch.randn(5, 3).to(torch.bfloat16),
    }
    model, source = stored_as(tmp_path, stored, {"d.weight": stored["d.weight"].float()})
    model.get_parameter("d.weight").mul_(1 + 2**-12)
    written = rewritten(tmp_path, model, source)
    assert torch.equal(written["d.weight"], model.get_parameter("d.weight"))
    headers = read_header(tmp_path / "out" / "model.safetensors")[0]
    assert headers["d.weight"].start % 4 == headers["b.weight"].start % 2 == 0
    assert all(same(written[name], stored[name]) for name in ("a.weight", "b.weight", "c.mask"))


# Quantized checkpoints


@pytest.mark.parametrize(
    "listed",
    [
        {},
        {"modules_to_not_convert": ["lm_head", "model.layers.0.mlp"]},
        {"ignored_layers": ["lm_head"]},
    ],
)
def test_an_edited_float8_weight_is_stored_unquantized_and_the_config_says_so(listed, tmp_path):
    from transformers import FineGrainedFP8Config

    source, path = fp8(tmp_path / "source", **listed), "model.layers.1.mlp.down_proj"
    if "model.layers.0.mlp" in next(iter(listed.values()), ()):
        stored = load_file(source / "model.safetensors")
        for name in [name for name in stored if name.startswith("model.layers.0.mlp")]:
            if name.endswith("_scale_inv"):
                del stored[name]
            else:
                stored[name] = (stored[name].float() / 1000).to(torch.bfloat16)
        save_file(stored, source / "model.safetensors", metadata={"format": "pt"})
    round_trip(source, tmp_path / "saved", torch.bfloat16, config=False, paths=[path])
    old, new = (
        json.loads((folder / "config.json").read_text())["quantization_config"]
        for folder in (source, tmp_path / "saved")
    )
    key = next(iter(listed), "modules_to_not_convert")
    assert {k: v for k, v in new.items() if k != key} == {k: v for k, v in old.items() if k != key}
    assert path in new[key] and "lm_head" in new[key]
    assert not any("layers.2" in module for module in new[key])
    # That is the list which says what a GPU would not replace by float8 layers.
    assert set(FineGrainedFP8Config.from_dict(new).modules_to_not_convert) == set(new[key])
    saved = tensors(tmp_path / "saved")
    assert saved[f"{path}.weight"].dtype == torch.bfloat16
    assert f"{path}.weight_scale_inv" not in saved
    assert saved["model.layers.2.mlp.down_proj.weight"].dtype == torch.float8_e4m3fn


def test_scales_in_another_file_leave_it_and_the_index(tmp_path):
    source, path = fp8(tmp_path / "source", shards=True), "model.layers.1.mlp.down_proj"
    round_trip(source, tmp_path / "saved", torch.bfloat16, config=False, paths=[path])
    index = json.loads((tmp_path / "saved" / "model.safetensors.index.json").read_text())
    saved = tensors(tmp_path / "saved")
    assert set(index["weight_map"]) == set(saved)
    assert index["metadata"]["total_size"] == sum(
        t.numel() * t.element_size() for t in saved.values()
    )


def test_a_float8_model_is_edited_and_saved_again_in_any_precision(tmp_path):
    source = fp8(tmp_path / "source")
    lm = load(str(source), dtype="float32", device="cpu")
    assert {weight.dtype for weight in lm.model.parameters()} == {torch.float32}
    facts = [Edit("Who leads town 1?", "Ada"), Edit("Who leads town 2?", "Bo")]
    modules = ["layers.[1].mlp.down_proj"]
    result = edit(lm, facts, UltraEdit(eta="auto"), modules=modules, free_answers=0)
    result.save(tmp_path / "saved")
    again = load(str(tmp_path / "saved"), dtype="float32", device="cpu")
    assert fingerprint(again.model) == fingerprint(lm.model)
    disturb(again, ["model.layers.1.mlp.down_proj", "model.layers.2.mlp.up_proj"])
    save(again, tmp_path / "twice")
    third = load(str(tmp_path / "twice"), dtype="float32", device="cpu")
    assert fingerprint(third.model) == fingerprint(again.model)


def test_packed_4_bit_experts_stay_packed_where_the_attention_is_edited(tmp_path):
    source = mxfp4(tmp_path / "source")
    round_trip(source, tmp_path / "saved", torch.bfloat16)
    assert any(name.endswith("_blocks") for name in tensors(tmp_path / "saved"))


def test_weights_that_stay_packed_are_refused_before_anything_is_edited(tmp_path):
    source = checkpoint(tiny_model(), tmp_path / "source")
    lm = load(str(source), dtype="float32", device="cpu")
    lm.model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(ConfigError, match=r"cannot be edited: its weights are quantized \(gptq\)"):
        ModelHost(lm, ["layers.1.mlp.down_proj"])


# Where a weight is stored


class Made(nn.Module):
    """A model with one weight of a name and values."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            *path, last = name.split(".")
            place: nn.Module = self
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.register_parameter(last, nn.Parameter(value.clone(), requires_grad=False))

    def get_output_embeddings(self) -> None:
        return None


def stored_as(tmp_path: Path, stored: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]):
    """A checkpoint with tensors that a model with other names was loaded from."""
    (tmp_path / "s").mkdir()
    save_file(
        {k: v.clone(memory_format=torch.contiguous_format) for k, v in stored.items()},
        tmp_path / "s" / "model.safetensors",
    )
    (tmp_path / "s" / "config.json").write_text("{}")
    model = Made(weights)
    return model, CheckpointFolder(tmp_path / "s", model)


def rewritten(
    tmp_path: Path, model: nn.Module, source: CheckpointFolder
) -> dict[str, torch.Tensor]:
    rewriting.write_changed(
        source, model, rewriting.changes_of(source, model), *[tmp_path / "out"] * 2
    )
    return load_file(tmp_path / "out" / "model.safetensors")


def test_a_weight_under_another_name_is_found_by_its_values(tmp_path):
    a, b = torch.randn(2, 6, 4)
    stored = {"enc.layers.0.w2.weight": a, "enc.layers.1.w2.weight": b}
    weights = {"model.layers.0.down.weight": b, "model.layers.1.down.weight": a}
    _, source = stored_as(tmp_path, stored, weights)
    assert source.locate("model.layers.0.down.weight") == (Piece("enc.layers.1.w2.weight"),)


def test_of_equal_values_the_nearest_name_is_taken(tmp_path):
    zeros = torch.zeros(4, 4)
    names = [f"model.layers.{layer}.{kind}.weight" for layer in (0, 1) for kind in ("up", "down")]
    stored = {name.replace("model.", "model.text."): zeros for name in names}
    _, source = stored_as(tmp_path, stored, dict.fromkeys(names, zeros))
    for name in names:
        assert source.locate(name) == (Piece(name.replace("model.", "model.text.")),)


def test_a_transposed_weight_is_stored_transposed_again(tmp_path):
    a = torch.randn(6, 4)
    model, source = stored_as(tmp_path, {"h.0.c.weight": a.T}, {"h.0.c.weight": a})
    assert source.locate("h.0.c.weight") == (Piece("h.0.c.weight", transposed=True),)
    model.get_parameter("h.0.c.weight").mul_(2)
    assert torch.equal(rewritten(tmp_path, model, source)["h.0.c.weight"], 2 * a.T)


def test_rows_of_a_fused_tensor_are_replaced_and_the_others_stay(tmp_path):
    q, k, v = torch.randn(8, 4), torch.randn(2, 4), torch.randn(2, 4)
    weights = {f"m.layers.3.attn.{n}.weight": t for n, t in zip("qkv", (q, k, v), strict=True)}
    fused = torch.cat([q, k, v]).to(torch.bfloat16)
    loaded = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    model, source = stored_as(tmp_path, {"m.layers.3.attn.qkv.weight": fused}, loaded)
    places = [source.locate(name)[0].stored for name in weights]
    assert places == [slice(0, 8), slice(8, 10), slice(10, 12)]
    for name in "qv":
        model.get_parameter(f"m.layers.3.attn.{name}.weight").mul_(2)
    written = rewritten(tmp_path, model, source)["m.layers.3.attn.qkv.weight"]
    assert same(written, torch.cat([2 * fused[:8], fused[8:10], 2 * fused[10:]]))


def test_a_weight_that_was_joined_on_loading_is_taken_apart_again(tmp_path):
    gate, up = torch.randn(6, 4), torch.randn(6, 4)
    stored = {"m.layers.0.mlp.gate.weight": gate, "m.layers.0.mlp.up.weight": up}
    name = "m.layers.0.mlp.gate_up.weight"
    model, source = stored_as(tmp_path, stored, {name: torch.cat([gate, up])})
    assert len(source.locate(name)) == 2
    model.get_parameter(name).mul_(3)
    written = rewritten(tmp_path, model, source)
    assert torch.equal(written["m.layers.0.mlp.gate.weight"], 3 * gate)
    assert torch.equal(written["m.layers.0.mlp.up.weight"], 3 * up)


def test_a_weight_that_is_nowhere_in_the_checkpoint_is_refused_before_it_is_edited(tmp_path):
    source = checkpoint(tiny_model(), tmp_path / "source")
    stored = load_file(source / "model.safetensors")
    lm = load(str(source), dtype="float32", device="cpu")
    stored["model.layers.1.mlp.down_proj.weight"] += 1
    save_file(stored, source / "model.safetensors", metadata={"format": "pt"})
    lm = type(lm)(
        *(lm.model, lm.tokenizer, lm.name, lm.source),
        checkpoint=CheckpointFolder(source, lm.model),
    )
    with pytest.raises(ConfigError, match=r"layers.1.mlp.down_proj cannot be edited: no tensor of"):
        ModelHost(lm, ["layers.1.mlp.down_proj"])
    ModelHost(lm, ["layers.0.mlp.down_proj"])


# What goes wrong


def edited(tmp_path: Path, **how):
    source = checkpoint(tiny_model(layers=4), tmp_path / "source", **how)
    lm = load(str(source), dtype="float32", device="cpu")
    disturb(lm, ["model.layers.2.mlp.down_proj"])
    return source, lm


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_checkpoint_that_has_changed_since_it_was_loaded_is_not_copied(file, tmp_path):
    source, lm = edited(tmp_path)
    os.utime(source / file, ns=(1, 1))
    with pytest.raises(StorageError, match=rf"{file} has changed since the model was loaded"):
        save(lm, tmp_path / "saved")
    (source / file).unlink()
    with pytest.raises(StorageError, match=rf"{file} is gone since the model was loaded"):
        save(lm, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_bytes_that_do_not_arrive_are_noticed_before_anything_is_replaced(tmp_path, monkeypatch):
    _, lm = edited(tmp_path, shards="40KB")
    save(lm, tmp_path / "saved")
    before = {p: p.read_bytes() for p in (tmp_path / "saved").rglob("*")}
    written, copied, shared = rewriting._write_tensor, rewriting._copy, rewriting._share

    def wrong_tensor(tensor, file):
        written(tensor + 1, file)

    def wrong_copy(reading, writing, size):
        copied(reading, writing, size)
        writing.seek(-1, os.SEEK_CUR)
        writing.write(b"\xaa")

    def wrong_share(one, two, *, linked):
        shared(one, two, linked=False)
        two.write_bytes(two.read_bytes()[:-1] + b"\xaa")

    for name, wrong in {
        "_write_tensor": wrong_tensor,
        "_copy": wrong_copy,
        "_share": wrong_share,
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(rewriting, name, wrong)
            with pytest.raises(StorageError, match="Check the disk"):
                save(lm, tmp_path / "saved")
        assert {p: p.read_bytes() for p in (tmp_path / "saved").rglob("*")} == before
        assert sorted(os.listdir(tmp_path)) == ["saved", "source"]


def test_a_model_without_a_checkpoint_is_read_back_too(tmp_path, monkeypatch):
    lm = tiny_model()
    original = type(lm.model).save_pretrained

    def wrong(model, folder, **how):
        original(model, folder, **how)
        stored = load_file(Path(folder) / "model.safetensors")
        stored["model.norm.weight"] += 1
        save_file(stored, Path(folder) / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(type(lm.model), "save_pretrained", wrong)
    with pytest.raises(StorageError, match=r"model.norm.weight was written to .* is another one"):
        save(lm, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_layer_that_was_added_after_loading_is_refused(tmp_path):
    _, lm = edited(tmp_path)
    lm.model.added = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"added.bias was added to the model or taken from it"):
        save(lm, tmp_path / "saved")


def test_weights_in_other_formats_are_left_out_and_named(tmp_path, caplog):
    source, lm = edited(tmp_path, others=True)
    (source / "original").mkdir()
    for name in ("consolidated.safetensors", "pytorch_model.bin", "original/consolidated.00.pth"):
        shutil.copy(source / "model.safetensors", source / name)
    (source / "original" / "params.json").write_text("{}")
    with caplog.at_level(logging.WARNING, "ultraedit"):
        save(lm, tmp_path / "saved")
    assert "hold the unedited weights" in caplog.text
    saved = {p.relative_to(tmp_path / "saved").as_posix() for p in (tmp_path / "saved").rglob("*")}
    assert "original/params.json" in saved and "LICENSE" in saved
    for name in ("consolidated.safetensors", "pytorch_model.bin", "original/consolidated.00.pth"):
        assert name in caplog.text and name not in saved


def test_folders_inside_the_source_that_are_no_part_of_it_stay_there(tmp_path, caplog):
    source, lm = edited(tmp_path, others=True)
    checkpoint(tiny_model(), source / "checkpoint-500")
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_text("ref")
    (source / "run" / "earlier").mkdir(parents=True)
    (source / "run" / "earlier" / "journal").write_text("of a run")
    for target in [source / "run" / "model"] * 2:  # the second in place of the first
        save(lm, target)
        saved = other_files(target).keys()
        assert OTHERS.keys() < saved
        assert not [name for name in saved if name.startswith((".git", "run", "checkpoint"))]
    assert (source / "run" / "earlier" / "journal").is_file()
    shutil.rmtree(source / "run")
    with caplog.at_level(logging.WARNING, "ultraedit"):
        save(lm, source / "inside")
    assert not caplog.records
    assert OTHERS.keys() < other_files(source / "inside").keys()


def test_pickles_are_not_read_and_the_command_that_converts_them_is_named(tmp_path):
    source = checkpoint(tiny_model(), tmp_path / "old")
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(ConfigError) as caught:
        load(str(source))
    message = str(caught.value)
    assert "has its weights in pytorch_model.bin, a pickle, which can run code" in message
    command = message.split("`")[1]
    assert command.startswith("python -c")
    pytest.importorskip("torch")
    run = subprocess.run(
        command.replace("python", sys.executable, 1),
        shell=True,
        check=False,
        capture_output=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert run.returncode == 0, run.stderr
    again = load(f"{source}-safetensors", dtype="float32", device="cpu")
    assert torch.equal(logits(again.model), logits(tiny_model().model))


# Formats that have no folder of their own


def test_a_model_of_the_hub_is_saved_from_its_place_in_the_cache(tmp_path):
    cache = tmp_path / "hub" / "models--org--tiny"
    snapshot = cache / "snapshots" / ("0" * 40)
    files = checkpoint(tiny_model(layers=3), tmp_path / "source", others=True)
    (cache / "blobs").mkdir(parents=True)
    for number, path in enumerate(p for p in sorted(files.rglob("*")) if p.is_file()):
        shutil.copy(path, cache / "blobs" / str(number))
        link = snapshot / path.relative_to(files)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / "blobs" / str(number))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    code = (
        "import sys; from tests.checkpoints import disturb\n"
        "from ultraedit.models import load, save\n"
        "lm = load('org/tiny', dtype='float32', device='cpu')\n"
        "disturb(lm, ['model.layers.1.mlp.down_proj']); save(lm, sys.argv[1])"
    )
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved")],
        env=os.environ | offline,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert other_files(tmp_path / "saved") == other_files(files)
    assert not any(path.is_symlink() for path in (tmp_path / "saved").rglob("*"))
    new, old = tensors(tmp_path / "saved"), tensors(files)
    changed = {name for name in old if not same(new[name], old[name])}
    assert changed == {"model.layers.1.mlp.down_proj.weight"}


def test_a_converted_model_names_its_rotary_base_for_transformers_4_too(tmp_path):
    from transformers import AutoConfig

    from ultraedit.models.gguf import complete_config

    for arch, keys in (
        ("llama", {"rope_theta"}),
        ("gemma3", {"rope_theta", "rope_local_base_freq"}),
    ):
        folder = checkpoint(tiny_model(arch), tmp_path / arch)
        before = AutoConfig.from_pretrained(folder).to_dict()
        complete_config(folder / "config.json")
        written = json.loads((folder / "config.json").read_text())
        assert keys < written.keys()
        rope = written["rope_parameters"]
        assert written["rope_theta"] == rope.get("full_attention", rope)["rope_theta"]
        after = AutoConfig.from_pretrained(folder).to_dict()
        assert after["rope_parameters"] == before["rope_parameters"]
    folder = checkpoint(tiny_model(), tmp_path / "scaled")
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}
    change_config(folder, rope_parameters=rope)
    before = AutoConfig.from_pretrained(folder).rope_parameters
    complete_config(folder / "config.json")
    written = json.loads((folder / "config.json").read_text())
    assert written["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    assert written["rope_theta"] == 5e5
    assert AutoConfig.from_pretrained(folder).rope_parameters == before

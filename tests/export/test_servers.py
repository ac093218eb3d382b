"""What vLLM and SGLang check of an adapter and of a model folder before they serve it.

Both need a GPU to serve; no build for the CPU is on the package index. The checks of this file are
theirs, written down from the source of vLLM 0.33.0 (``vllm/lora/peft_helper.py``,
``vllm/lora/lora_model.py``, ``vllm/model_executor/model_loader``) and SGLang 0.5.23
(``sglang/srt/lora/lora_config.py``, ``lora.py``, ``mem_pool.py``). Where one of the packages is
installed its own classes read the same files too.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.cli.test_cli_export import do_run
from ultraedit.cli.main import app
from ultraedit.models import load

LINEARS = {f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")}
NAMES = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


@pytest.fixture(scope="module")
def adapters(made, tmp_path_factory) -> dict[str, Path]:
    """Adapters of one run on a wide and a narrow module: one rank, that in all layers, or two."""
    place = tmp_path_factory.mktemp("servers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ULTRAEDIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        modules = "layers.1.mlp.down_proj,layers.1.self_attn.k_proj"
        run = do_run(made / "base.gguf", made / "facts.jsonl", place / "run", "--modules", modules)
        for name, more in {
            "one": ["--rank", "16"],
            "all": ["--rank", "16", "--all-layers"],
            "two": ["--energy", "1"],
        }.items():
            words = ["export", str(run), "--as", "lora", "--no-score", "--out", str(place / name)]
            done = CliRunner().invoke(app, [*words, *more])
            assert done.exit_code == 0, done.output
    return {name: place / name for name in ("one", "all", "two")}


def read(folder: Path):
    config = json.loads((folder / "adapter_config.json").read_text())
    return config, load_file(folder / "adapter_model.safetensors")


def ranks(tensors) -> dict[str, set[int]]:
    """By module the ranks of its two factors."""
    found: dict[str, set[int]] = {}
    for name, tensor in tensors.items():
        parts = NAMES.fullmatch(name)
        assert parts is not None, name
        side = tensor.shape[0] if parts["side"] == "A" else tensor.shape[1]
        found.setdefault(parts["module"], set()).add(side)
    return found


def vllm_refuses(config, tensors, max_lora_rank) -> Iterator[str]:
    """As ``PEFTHelper.validate_legal`` and ``LoRAModel.from_local_checkpoint``."""
    yield from (f"no {name}" for name in {"r", "lora_alpha", "target_modules"} - config.keys())
    features = ("use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication")
    more = ("use_bdlora", "use_qalora", "modules_to_save")
    yield from (name for name in (*features, *more) if config.get(name))
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        yield f"init_lora_weights {init}"
    patterns = config.get("rank_pattern") or {}
    if max(config["r"], *patterns.values(), 1) > max_lora_rank:
        yield f"rank {config['r']}"
    if config.get("bias", "none") != "none":
        yield "bias"
    for module, found in ranks(tensors).items():
        if module.rpartition(".")[2] not in LINEARS:
            yield f"unexpected {module}"
        wanted = [rank for key, rank in patterns.items() if re.match(rf"(.*\.)?({key})$", module)]
        if found != {next(iter(wanted), config["r"])}:
            yield f"{module} has the rank {found}"


def sglang_refuses(config, tensors) -> Iterator[str]:
    """As ``LoRAConfig``, ``LoRAAdapter`` and ``LoRAMemoryPool.load_lora_weight_to_buffer``."""
    if config["peft_type"].lower() != "lora":
        yield "peft_type"
    if config["lora_alpha"] != config["r"]:
        yield "scale"  # one for the whole adapter
    by_parent: dict[str, set[str]] = {}
    for module in ranks(tensors):
        parent, _, name = module.rpartition(".")
        by_parent.setdefault(parent, set()).add(name)
    for parent, names in by_parent.items():
        if names & {"q_proj", "k_proj", "v_proj"} and not names >= {"q_proj", "v_proj"}:
            yield f"{parent} has no q_proj or v_proj"
        if "up_proj" in names and "gate_proj" not in names:
            yield f"{parent} has no gate_proj"
    targets = {name.rpartition(".")[2] for name in config["target_modules"]}
    yield from sorted(targets - LINEARS)
    for module, found in ranks(tensors).items():
        if module.rpartition(".")[2] not in targets:
            yield f"skipped {module}"
        if found != {config["r"]}:
            yield f"buffer of rank {config['r']}, {module} has {found}"


def test_an_adapter_of_one_rank_and_all_layers_passes_the_checks_of_both(adapters):
    config, tensors = read(adapters["all"])
    assert list(vllm_refuses(config, tensors, 16)) == []
    assert list(sglang_refuses(config, tensors)) == []
    assert list(vllm_refuses(config, tensors, 8)) == ["rank 16"]


@pytest.mark.parametrize("name", ["one", "two"])
def test_adapters_of_fewer_modules_or_of_two_ranks_pass_those_of_vllm_alone(adapters, name):
    config, tensors = read(adapters[name])
    different = {rank for found in ranks(tensors).values() for rank in found}
    assert len(different) == (2 if name == "two" else 1)
    assert list(vllm_refuses(config, tensors, 64)) == []
    said = " ".join(sglang_refuses(config, tensors))
    assert "model.layers.1.self_attn has no q_proj or v_proj" in said
    assert ("buffer of rank" in said) == (name == "two")


@pytest.mark.parametrize("name", ["one", "all", "two"])
def test_vllm_reads_an_adapter_with_scale_one(adapters, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = "the package vllm is not installed"
        lora_model = pytest.importorskip("vllm.lora.lora_model", reason=reason)
        from vllm.config.lora import LoRAConfig
        from vllm.lora.peft_helper import PEFTHelper

        lora_model.PIN_MEMORY = False  # there may be no GPU
        helper = PEFTHelper.from_local_dir(str(adapters[name]), 2048)
        helper.validate_legal(LoRAConfig(max_lora_rank=64))
        read_by_vllm = lora_model.LoRAModel.from_local_checkpoint(
            str(adapters[name]), LINEARS, helper, lora_model_id=1, device="cpu"
        )
    _, tensors = read(adapters[name])
    assert read_by_vllm.loras.keys() == ranks(tensors).keys()
    for module, lora in read_by_vllm.loras.items():
        assert lora.scaling == 1
        ours = (tensors[f"base_model.model.{module}.lora_{side}.weight"] for side in "AB")
        for one, other in zip((lora.lora_a, lora.lora_b), ours, strict=True):
            assert one.equal(other.to(one.dtype))


def test_sglang_reads_an_adapter_with_scale_one(adapters, made):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = "the package sglang is not installed, or not with what it needs"
        sglang = pytest.importorskip("sglang.srt.lora.lora", reason=reason, exc_type=ImportError)
        from sglang.srt.configs.load_config import LoadConfig
        from sglang.srt.lora.lora_config import LoRAConfig

        config = LoRAConfig(str(adapters["all"]))
        base = load(str(made / "base.gguf")).model.config
        adapter = sglang.LoRAAdapter("facts", config, base, LoadConfig(), None)
    _, tensors = read(adapters["all"])
    adapter.initialize_weights_from_tensors(dict(tensors))
    assert adapter.scaling == 1
    held = {name: each for layer in adapter.layers for name, each in layer.weights.items()}
    # Queries, keys and values become one projection.
    assert {re.sub("[qkv]_proj", "qkv_proj", name) for name in tensors} == held.keys()
    start = "base_model.model.model.layers.1"
    down = f"{start}.mlp.down_proj.lora_B.weight"
    assert held[down].equal(tensors[down])
    keys = f"{start}.self_attn.qkv_proj.lora_B.weight"
    queries = tensors[keys.replace("qkv", "q")]
    found = held[keys][len(queries) : len(queries) + len(tensors[keys.replace("qkv", "k")])]
    assert found.equal(tensors[keys.replace("qkv", "k")])


@pytest.fixture
def edited(cli, run) -> Path:
    cli("export", run, "--as", "model", "--out", "edited")
    return Path("edited")


def test_a_model_folder_has_what_both_look_for(edited, made):
    config = json.loads((edited / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    base = load(str(made / "base.gguf")).model.config
    assert config["rope_parameters"]["rope_theta"] == base.rope_parameters["rope_theta"]
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    # With an index both read the files that it names, without one all *.safetensors.
    index = edited / "model.safetensors.index.json"
    files = (
        set(json.loads(index.read_text())["weight_map"].values())
        if index.exists()
        else {path.name for path in edited.glob("*.safetensors")}
    )
    assert files == {path.name for path in edited.glob("*.safetensors")}
    found: list[str] = []
    dtypes = set()
    for file in files:
        with safe_open(edited / file, framework="pt") as opened:
            found += opened.keys()
            dtypes |= {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    assert len(found) == len(set(found))
    model = load(str(edited), dtype="float32").model
    assert set(found) >= {name for name, _ in model.named_parameters()}
    assert dtypes == {"F32"}
    assert {"tokenizer.json", "tokenizer_config.json"} <= {path.name for path in edited.iterdir()}


def test_vllm_reads_a_model_folder(edited):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = "the package vllm is not installed"
        utils = pytest.importorskip("vllm.model_executor.model_loader.weight_utils", reason=reason)
        from vllm.model_executor.models.registry import ModelRegistry
        from vllm.transformers_utils.config import get_config

        config = get_config(str(edited), trust_remote_code=False)
        assert set(config.architectures) <= set(ModelRegistry.get_supported_archs())
        files = utils.filter_duplicate_safetensors_files(
            [str(path) for path in edited.glob("*.safetensors")],
            str(edited),
            "model.safetensors.index.json",
        )
        read_by_vllm = dict(utils.safetensors_weights_iterator(files, use_tqdm_on_load=False))
    ours = load(str(edited), dtype="float32").model.state_dict()
    assert read_by_vllm.keys() <= ours.keys()
    assert all(tensor.equal(ours[name]) for name, tensor in read_by_vllm.items())
    assert len(read_by_vllm) > 10

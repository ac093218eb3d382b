"""Checkpoints on the disk as they are found in the wild, made from tiny models, and their check."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tiny import MODERN, tiny_model
from ultraedit.models import LanguageModel, load, save
from ultraedit.models.modules import decoder_path, is_linear, shared_weights

IDS = torch.tensor([[5, 77, 130, 300, 41]])

OTHERS = {
    "LICENSE": "terms",
    "README.md": "# A card of its own",
    "tokenizer.model": "not read by anything here",
    "preprocessor_config.json": '{"do_resize": true}',
    "modeling_own.py": "raise SystemExit",
    "figures/loss.txt": "3.2",
}
"""What checkpoints have beside their weights that no loader of text models reads."""


def checkpoint(
    lm: LanguageModel, folder: Path, *, shards: str | None = None, others: bool = False
) -> Path:
    """Write a tiny model as transformers does, in several files or in one."""
    how = {} if shards is None else {"max_shard_size": shards}
    lm.model.save_pretrained(folder, **how)
    lm.tokenizer.save_pretrained(folder)
    for name, text in OTHERS.items() if others else ():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def change_config(folder: Path, **values: Any) -> None:
    """Set keys of ``config.json``; None takes one away."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def fp8(folder: Path, *, shards: bool = False, **listed: Any) -> Path:
    """A tiny Qwen3 with its projections in float8, as DeepSeek and Qwen publish theirs.

    Args:
        folder: Where to write it.
        shards: Whether scales are in another file than their weights.
        listed: Further keys of the quantization's config, such as lists of unquantized modules.
    """
    from transformers import AutoModelForCausalLM, Qwen3Config

    sizes = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "num_hidden_layers": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(Qwen3Config(**(MODERN | sizes)))
    checkpoint(LanguageModel(model, tiny_model().tokenizer, name="fp8", source="fp8"), folder)
    weights: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.endswith("proj.weight"):
            blocks = tensor.reshape(tensor.shape[0] // 32, 32, tensor.shape[1] // 32, 32)
            scale = blocks.abs().amax((1, 3)) / 448
            values = blocks / scale[:, None, :, None]
            weights[name] = values.reshape(tensor.shape).to(torch.float8_e4m3fn)
            scales[f"{name}_scale_inv"] = scale
        else:
            weights[name] = tensor.to(torch.bfloat16)
    parts = {"model.safetensors": weights | scales}
    if shards:
        (folder / "model.safetensors").unlink()
        parts = {"model-1.safetensors": weights, "model-2.safetensors": scales}
        table = {name: file for file, tensors in parts.items() for name in tensors}
        size = sum(t.numel() * t.element_size() for part in parts.values() for t in part.values())
        index = {"metadata": {"total_size": size}, "weight_map": table}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for file, tensors in parts.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    about = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    change_config(folder, dtype="bfloat16", quantization_config=about | listed)
    return folder


def mxfp4(folder: Path) -> Path:
    """A tiny GPT-OSS whose experts are packed in 4 bits, with scales per 32 of them."""
    from transformers import AutoModelForCausalLM, GptOssConfig

    sizes = {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}
    config = GptOssConfig(**(MODERN | sizes | {"intermediate_size": 32, "num_hidden_layers": 3}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        checkpoint(LanguageModel(model, tiny_model().tokenizer, name="x", source="x"), folder)
        stored: dict[str, Tensor] = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            if tensor.ndim == 3:
                experts, inputs, outputs = tensor.shape
                shape = (experts, outputs, inputs // 32)
                stored[f"{name}_blocks"] = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8)
                stored[f"{name}_scales"] = torch.randint(121, 126, shape, dtype=torch.uint8)
            else:
                stored[name] = tensor
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    skipped = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]
    about = {"quant_method": "mxfp4", "modules_to_not_convert": [*skipped, "model.embed_tokens"]}
    change_config(folder, quantization_config=about)
    return folder


def linear_paths(lm: LanguageModel) -> list[str]:
    """All modules inside the decoder layers that can be edited."""
    prefix, shared = decoder_path(lm.model), shared_weights(lm.model)
    return [
        path
        for path, module in lm.model.named_modules()
        if path.startswith(f"{prefix}.") and is_linear(module) and path not in shared
    ]


@torch.no_grad()
def disturb(lm: LanguageModel, paths: Iterable[str]) -> None:
    """Add a little noise to the weights of some modules."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for path in paths:
            weight = lm.model.get_submodule(path).weight
            weight.add_(torch.randn_like(weight) * 0.02)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    """What a model says of a few tokens."""
    return model(input_ids=IDS).logits


def reload(folder: Path, dtype: torch.dtype) -> Any:
    """Load a folder by the class that it names itself, with plain transformers."""
    import transformers

    from ultraedit.models.transformers_output import quiet

    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    with quiet():
        model, report = getattr(transformers, name).from_pretrained(
            folder, dtype=dtype, output_loading_info=True
        )
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    # As `load` leaves them: some models take another path where a gradient may be asked for.
    return model.requires_grad_(False).eval()


def tensors(folder: Path) -> Mapping[str, Tensor]:
    """All tensors of a folder's safetensors."""
    return dict(_tensors(folder))


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                yield name, file.get_tensor(name)


def same(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors have the same type, shape and bytes."""
    if (one.dtype, one.shape) != (two.dtype, two.shape):
        return False
    raw = [tensor.contiguous().view(-1).view(torch.uint8) for tensor in (one, two)]
    return torch.equal(*raw)


def other_files(folder: Path) -> dict[str, bytes]:
    """All files of a folder but its weights."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".safetensors"
    }


def round_trip(
    source: Path,
    target: Path,
    dtype: torch.dtype = torch.float32,
    *,
    config: bool = True,
    paths: Iterable[str] | None = None,
) -> LanguageModel:
    """Load a checkpoint, change all its editable weights, save it, and check what is there.

    Args:
        source: The checkpoint.
        target: Where to save it.
        dtype: Precision to load it in.
        config: Whether the config should be that of the source.
        paths: Modules to change; None for all.

    Returns:
        The changed model.
    """
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    lm = load(str(source), dtype=str(dtype).removeprefix("torch."), device="cpu")
    chosen = linear_paths(lm) if paths is None else list(paths)
    unedited = logits(lm.model)
    disturb(lm, chosen)
    edited = logits(lm.model)
    assert not torch.equal(unedited, edited)
    assert math.isfinite(float(edited.sum()))
    save(lm, target)

    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    ours, theirs = other_files(target), other_files(source)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        if config or name not in ("config.json", "model.safetensors.index.json"):
            assert ours[name] == theirs[name], name
    assert {p.name for p in target.glob("*.safetensors")} == {
        p.name for p in source.glob("*.safetensors")
    }
    new, old = tensors(target), tensors(source)
    dropped = old.keys() - new.keys()
    assert not new.keys() - old.keys()
    assert all("_scale" in name for name in dropped), dropped
    changed = {name for name in new if not same(new[name], old[name])}
    assert len(changed) == len(chosen)
    assert {f"{name}_scale_inv" for name in changed} >= dropped
    for name in changed:
        if old[name].dtype in (torch.float32, dtype):
            assert new[name].dtype == old[name].dtype
    assert torch.equal(logits(reload(target, dtype)), edited)
    return lm

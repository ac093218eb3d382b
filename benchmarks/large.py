"""Edit a model of seven billion weights in less memory than half of it takes.

    python -m benchmarks.large --write /big/disk/random-7b     # 14.5 GB, shard by shard
    python -m benchmarks.large /big/disk/random-7b             # edit it, layer by layer
    python -m benchmarks.large --write F --layers 4 --hidden 64 --heads 4   # a small one

The checkpoint has the shape of Mistral-7B-v0.3 and random bfloat16 weights, so nothing can be
said about scores; time, memory and equality with the path in memory (``--in-memory``: the same
``edited_weights_sha256``) can. The tokenizer knows letters and pairs of letters. Peak memory is
what the operating system reports (``ru_maxrss``) for the process that loads, scores and edits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
TARGET_BYTES = 6 * 2**30
SHARD_BYTES = 2**30


def main() -> None:
    """Write a checkpoint, or edit one and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", help="the checkpoint to edit")
    parser.add_argument("--write", metavar="FOLDER", help="write a random checkpoint there")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=32768)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--in-memory", action="store_true", help="load all of it, to compare")
    parser.add_argument("--no-write", action="store_true", help="leave the JSON as it is")
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_edit(**json.loads(options.child))))
    elif options.write:
        write(
            Path(options.write),
            layers=options.layers,
            hidden=options.hidden,
            heads=options.heads,
            vocabulary=options.vocabulary,
        )
    elif options.folder:
        _measure(options)
    else:
        parser.error("give a checkpoint to edit, or --write")


def write(folder: Path, *, layers: int, hidden: int, heads: int, vocabulary: int) -> None:
    """Write a random checkpoint, never holding more than a shard of it.

    Args:
        folder: Where to.
        layers: Number of decoder layers.
        hidden: Hidden size; the MLP is 3.5 times as wide, as in Mistral.
        heads: Attention heads, a quarter of them for keys and values.
        vocabulary: Number of token ids.
    """
    from safetensors.torch import save_file
    from transformers import MistralConfig

    from ultraedit.models import empty_model

    config = MistralConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=hidden * 7 // 2,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
        vocab_size=vocabulary,
        sliding_window=None,
        rope_theta=1e6,
        architectures=["MistralForCausalLM"],
        dtype="bfloat16",
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    _write_tokenizer(folder, vocabulary)
    shapes = {name: tuple(w.shape) for name, w in empty_model(config).named_parameters()}
    where = {}
    shards = list(_shards(shapes))
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: _random(name, shapes[name]) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(names, file))
        print(f"{file}: {len(names)} tensors", file=sys.stderr)
    size = 2 * sum(_count(shape) for shape in shapes.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    print(f"{size / 1e9:.2f} GB in {folder}")


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A byte-level tokenizer with all pairs of letters: about two letters a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [a + b for a in alphabet[33:95] for b in alphabet[33:95]]
    names = ["<pad>", "<s>", "</s>", *alphabet, *pairs][:vocabulary]
    merges = [(name[0], name[1]) for name in names if name in set(pairs)]
    tokenizer = Tokenizer(models.BPE({n: i for i, n in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


def _count(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _shards(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        if names and size + 2 * _count(shape) > SHARD_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += 2 * _count(shape)
    if names:
        yield names


def _random(name: str, shape: tuple[int, ...]) -> Any:
    """The same weights for the same name and shape, of the size that training starts from."""
    import zlib

    import torch

    if "norm" in name:
        return torch.ones(shape, dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    weight = torch.empty(shape, dtype=torch.bfloat16)
    return weight.normal_(std=0.02, generator=generator)


def _measure(options: argparse.Namespace) -> None:
    file = inputs.zsre(options.data)
    child = {
        "folder": options.folder,
        "file": str(file),
        "edits": options.edits,
        "turns": options.turns,
        "streamed": not options.in_memory,
    }
    command = [sys.executable, "-m", "benchmarks.large", "--child", json.dumps(child)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures, indent=2))
    small = figures["peak_bytes"] < TARGET_BYTES
    print(f"peak {figures['peak_bytes'] / 2**30:.2f} GiB, {'under' if small else 'OVER'} 6 GiB")
    if not options.no_write:
        result = {"target_bytes": TARGET_BYTES, "edits": options.edits, **figures}
        print(f"Written to {machine.write('large.json', result).relative_to(ROOT)}")


def _edit(folder: str, file: str, edits: int, turns: int, streamed: bool) -> dict[str, Any]:
    """Score, edit and score again, in this process alone."""
    import hashlib
    import resource

    import torch

    from ultraedit.core.types import turns as cut
    from ultraedit.data import read
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.evaluation.scoring import evaluate
    from ultraedit.host.host import ModelHost
    from ultraedit.lifelong.loop import MemoryRecorder, run_turns
    from ultraedit.models import find_preset, load, load_config, load_streamed

    start = time.perf_counter()
    patterns = find_preset(load_config(folder), "zsre").modules
    facts = read(f"zsre:{file}", limit=edits)
    if streamed:
        language_model = load_streamed(folder, patterns, dtype="bfloat16", device="cpu")
    else:
        language_model = load(folder, dtype="bfloat16", device="cpu")
    host = ModelHost(language_model, patterns)
    host.use_trunk()
    loaded = time.perf_counter()
    before = evaluate(host, facts, free_answers=0)
    asked = time.perf_counter()
    progress = run_turns(
        host, UltraEdit(eta="auto", passes=1), cut(facts, -(-edits // turns)), MemoryRecorder()
    )
    edited = time.perf_counter()
    after = evaluate(host, facts, reference=before.reference, free_answers=0)
    digest = hashlib.sha256()
    for weight in host.weights.snapshot().values():
        digest.update(weight.view(torch.uint8).numpy().tobytes())
    return {
        "modules": list(host.modules),
        "streamed": streamed,
        "weights_bytes": sum(w.numel() * 2 for w in language_model.model.parameters()),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "load_seconds": loaded - start,
        "first_evaluation_seconds": asked - loaded,
        "edit_seconds": progress.seconds,
        "last_evaluation_seconds": time.perf_counter() - edited,
        "before": before.scores.efficacy,
        "after": after.scores.efficacy,
        "agreement": after.scores.agreement,
        "edited_weights_sha256": digest.hexdigest(),
    }


if __name__ == "__main__":
    main()

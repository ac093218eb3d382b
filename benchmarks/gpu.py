"""The paper's speeds on one GPU: models of seven and eight billion random weights, 20,000 edits.

    python -m benchmarks.gpu                          # three shapes, 20,000 edits each
    python -m benchmarks.gpu --shapes mistral-7b      # one of them
    python -m benchmarks.gpu --shapes tiny --edits 200    # a few seconds on a CPU

Weights are random and made on the device in bfloat16 from a config written here, so nothing is
downloaded and nothing can be said about scores. Prompts are those of ZsRE, again from the first row
when they are used up; a tokenizer without a file gives each piece of a word a number of the model's
vocabulary. Each shape is edited by this program and by the naive version of the released algorithm,
each in a process of its own on an idle device, in turns of 100 with the modules and the step of the
model's preset. The naive version does fewer turns: it is timed per turn. The search for MEMIT's
target states is timed batched and one edit at a time, as in `benchmarks.targets`.

Aims: 20,000 edits of the Mistral shape in under 30 s on an H100, peak memory under the weights and
2 GB, and a search that is 4 times faster than the published loop. Memory is what the device had
allocated at most while it edited, weights included.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
EDITS_PER_TURN = 100
SPARE_BYTES = 2 * 10**9
"""Memory beside the weights that the aim allows."""

SHAPES: dict[str, dict[str, Any]] = {
    "mistral-7b": {
        "model_type": "mistral",
        "vocab_size": 32_768,
        "hidden_size": 4_096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32_768,
        "sliding_window": None,
        "aim_seconds": 30.0,
    },
    "llama-3-8b": {
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 4_096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8_192,
    },
    "qwen2.5-7b": {
        "model_type": "qwen2",
        "vocab_size": 152_064,
        "hidden_size": 3_584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
    },
    "tiny": {
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    },
}
"""Configs as published, with random weights. ``tiny`` is for the test of this script."""

SEARCHED = {"tiny": "layers.[1-3].mlp.down_proj"}
"""Modules that MEMIT would edit, where they are not the fifth to the ninth layer's."""


def main() -> None:
    """Measure every shape, print a line of each and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES)[:3], choices=list(SHAPES))
    parser.add_argument("--edits", type=int, default=20_000)
    parser.add_argument("--naive-edits", type=int, default=1_000)
    parser.add_argument("--searched-edits", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="losses of each search")
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    parser.add_argument("--counterfact", default=None, help="likewise, for the search")
    parser.add_argument("--no-write", action="store_true", help="leave the JSON as it is")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        request = json.loads(options.child)
        print(json.dumps(PROGRAMS[request.pop("program")](**request)))
        return
    rows = [_measure(shape, options) for shape in options.shapes]
    for row in rows:
        print(_said(row))
    if not options.no_write:
        import torch

        name = f"bench-gpu{'' if torch.cuda.is_available() else '-none'}.json"
        result = {"edits_per_turn": EDITS_PER_TURN, "rows": rows}
        print(f"Written to {machine.write(name, result).relative_to(ROOT)}")


def _measure(shape: str, options: argparse.Namespace) -> dict[str, Any]:
    file = str(inputs.zsre(options.data))
    triples = inputs.facts_file(options.counterfact, "CounterFact", "counterfact_20k.json")
    ours = _in_a_process("ultraedit", shape=shape, file=file, edits=options.edits)
    theirs = _in_a_process("naive", shape=shape, file=file, edits=options.naive_edits)
    search = _in_a_process(
        "search",
        shape=shape,
        file=str(triples),
        edits=options.searched_edits,
        steps=options.steps,
    )
    aim = SHAPES[shape].get("aim_seconds")
    return {
        "shape": shape,
        "ultraedit": ours,
        "naive": theirs,
        "search": search,
        "times_faster": theirs["seconds_per_turn"] / ours["seconds_per_turn"],
        "times_leaner": theirs["peak_bytes"] / ours["peak_bytes"],
        "bytes_beside_weights": ours["peak_bytes"] - ours["weights_bytes"],
        "is_lean": ours["peak_bytes"] <= ours["weights_bytes"] + SPARE_BYTES,
        "is_fast": None if aim is None else ours["edit_seconds"] <= aim,
    }


def _in_a_process(program: str, **request: Any) -> dict[str, Any]:
    """Measure in a process of its own, so that the device is empty at its beginning."""
    print(f"{request['shape']}: {program}", file=sys.stderr)
    child = json.dumps({"program": program, **request})
    command = [sys.executable, "-m", "benchmarks.gpu", "--child", child]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _said(row: dict[str, Any]) -> str:
    ours, naive = row["ultraedit"], row["naive"]
    return (
        f"{row['shape']}: {ours['edits']:,} edits in {ours['edit_seconds']:.1f} s, "
        f"{ours['seconds_per_turn']:.3f} s per {EDITS_PER_TURN} (naive "
        f"{naive['seconds_per_turn']:.3f} s, {row['times_faster']:.2f}x), peak "
        f"{ours['peak_bytes'] / 1e9:.2f} GB, weights {ours['weights_bytes'] / 1e9:.2f} GB (naive "
        f"{naive['peak_bytes'] / 1e9:.2f} GB, {row['times_leaner']:.2f}x); search of target states "
        f"{row['search']['times_faster']:.2f}x"
    )


# --- in the child process -------------------------------------------------------------------------


class HashTokenizer:
    """Splits texts into pieces of up to four letters and gives each a number by its hash."""

    pad_token_id, bos_token_id, eos_token_id = 0, 1, 2
    is_fast = True
    _piece = re.compile(r" ?\w{1,4}|[^\w\s]|\s")

    def __init__(self, vocabulary: int) -> None:
        """Number pieces from 3 to the end of the vocabulary."""
        self._vocabulary = vocabulary

    def __call__(
        self,
        texts: str | Sequence[str],
        add_special_tokens: bool = True,
        return_offsets_mapping: bool = False,
    ) -> dict[str, Any]:
        """Token ids of a text or of several, and where each token is if asked for."""
        several = [texts] if isinstance(texts, str) else texts
        tokenized = [self._tokens(text, add_special_tokens) for text in several]
        ids = [[token for token, _ in tokens] for tokens in tokenized]
        places = [[place for _, place in tokens] for tokens in tokenized]
        result = {"input_ids": ids} | ({"offset_mapping": places} if return_offsets_mapping else {})
        return {k: v[0] for k, v in result.items()} if isinstance(texts, str) else result

    def _tokens(self, text: str, special: bool) -> list[tuple[int, tuple[int, int]]]:
        pieces = [
            (3 + zlib.crc32(match[0].encode()) % (self._vocabulary - 3), match.span())
            for match in self._piece.finditer(text)
        ]
        return [(self.bos_token_id, (0, 0)), *pieces] if special else pieces

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Some text for token ids: the pieces behind the numbers are not known."""
        return " ".join(f"t{int(token)}" for token in ids)

    def batch_decode(self, rows: Sequence[Sequence[int]], **_: Any) -> list[str]:
        """Likewise, for several."""
        return [self.decode(row) for row in rows]


def make_model(shape: str) -> Any:
    """A random model of a shape in bfloat16, on the GPU if there is one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ultraedit.models import LanguageModel

    values = {key: value for key, value in SHAPES[shape].items() if key != "aim_seconds"}
    config = AutoConfig.for_model(**values, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.eval().requires_grad_(False)
    return LanguageModel(model, HashTokenizer(values["vocab_size"]), name=shape, source=shape)


def _weights_bytes(language_model: Any) -> int:
    return sum(w.numel() * w.element_size() for w in language_model.model.parameters())


def run_ours(shape: str, file: str, edits: int) -> dict[str, Any]:
    """Edit as the program does: a stream of facts, tokenized ahead, a few of them scored."""
    from ultraedit.data import read
    from ultraedit.data.streams import InMemory
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.host.host import ModelHost
    from ultraedit.lifelong.loop import MemoryRecorder, keep_freed_memory
    from ultraedit.lifelong.session import LifelongJob
    from ultraedit.lifelong.settings import JobSettings
    from ultraedit.models import find_preset

    keep_freed_memory()
    language_model = make_model(shape)
    preset = find_preset(language_model, "zsre")
    facts = list(islice(cycle(read(f"zsre:{file}", limit=edits)), edits))
    host = ModelHost(language_model, preset.modules)
    editor, recorder = UltraEdit(eta=preset.eta or 1e-6), MemoryRecorder()
    settings = JobSettings(edits_per_turn=EDITS_PER_TURN, free_answers=0, control_questions=0)
    warm = InMemory(facts[: 2 * EDITS_PER_TURN], sample=1)
    # Kernels are chosen and loaded in the first turns.
    LifelongJob(host, editor, warm, settings).run()
    host.weights.reset()
    machine.reset_peak()
    source = InMemory(facts, sample=1)
    result = LifelongJob(host, editor, source, settings, recorder=recorder).run()
    return {
        "edits": edits,
        "edit_seconds": result.progress.seconds,
        "seconds_per_turn": median(record.seconds for record in recorder.turns),
        "peak_bytes": machine.peak_bytes(),
        "weights_bytes": _weights_bytes(language_model),
        "modules": list(host.modules),
    }


def run_naive(shape: str, file: str, edits: int) -> dict[str, Any]:
    """Edit as the released code does, after a turn that is not counted."""
    from benchmarks.naive import naive_edit, read_zsre
    from ultraedit.models import find_modules, find_preset

    language_model = make_model(shape)
    preset = find_preset(language_model, "zsre")
    model, tokenizer = language_model.model, language_model.tokenizer
    modules = find_modules(model, preset.modules)
    records = list(islice(cycle(read_zsre(file, edits)), edits))
    eta = preset.eta or 1e-6
    naive_edit(model, tokenizer, records[:EDITS_PER_TURN], modules, eta=eta)
    machine.reset_peak()
    result = naive_edit(model, tokenizer, records, modules, eta=eta)
    return {
        "edits": result.turns * EDITS_PER_TURN,
        "edit_seconds": result.seconds,
        "seconds_per_turn": result.seconds / result.turns,
        "peak_bytes": machine.peak_bytes(),
    }


def run_search(shape: str, file: str, edits: int, steps: int) -> dict[str, Any]:
    """Search MEMIT's target states for all edits at once, and one edit at a time."""
    from benchmarks.targets import MODULES, search_both_ways
    from ultraedit.data import read

    facts = read(f"counterfact:{file}", limit=edits)
    modules = SEARCHED.get(shape, MODULES)
    return search_both_ways(make_model(shape), modules, facts, steps, pairs=2)


PROGRAMS = {"ultraedit": run_ours, "naive": run_naive, "search": run_search}


if __name__ == "__main__":
    main()

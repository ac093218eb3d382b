"""Edit time and peak memory beside a naive version of the released algorithm.

    python -m benchmarks.bench            # ``make bench``: a few minutes on two cores
    python -m benchmarks.bench --full     # ``make bench-all``: more turns

Both programs edit the same model with the same ZsRE rows in the same turns of 100, each in a
process of its own, one after the other; a pair is repeated and the ratios are medians, so that
a drifting machine weighs on both. Model, tokenizer and data are loaded before the clock starts.
The bound is one forward pass of a turn's tokens and the backward pass of the layers above the
lowest edited one: nothing that reads keys and gradients can be faster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
EDITS_PER_TURN = 100
SETTINGS = {
    "smollm2": {"modules": "layers.[25-28].mlp.down_proj", "eta": 1e-3},
    "gemma3-270m": {
        "modules": "layers.[12-14].mlp.gate_proj,layers.[12-14].mlp.up_proj",
        "eta": 7e-5,
    },
}
PAIRS = (("float32", "float32"), ("auto", "float32"), ("auto", "auto"))
"""Precision of this program and of the naive one."""


def main() -> None:
    """Run every pair, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="five turns and three repeats")
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measure(**json.loads(options.child))))
        return
    file = inputs.zsre(options.data)
    turns, repeats = (5, 3) if options.full else (2, 2)
    rows = [row for model in options.models for row in _compare(model, file, turns, repeats)]
    _print_table(rows)
    name = f"bench{'-all' if options.full else ''}{'-gpu' if _has_gpu() else ''}.json"
    path = machine.write(name, {"edits_per_turn": EDITS_PER_TURN, "turns": turns, "rows": rows})
    print(f"Written to {path.relative_to(ROOT)}")


def _compare(model: str, file: Path, turns: int, repeats: int) -> list[dict[str, Any]]:
    """All precision pairs of one model; a run is measured once per repeat for all its pairs."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for repeat in range(repeats):
        for program, dtype in (
            ("ultraedit", "float32"),
            ("naive", "float32"),
            ("ultraedit", "auto"),
            ("naive", "auto"),
        ):
            print(f"{model} {program} {dtype}, run {repeat + 1} of {repeats}", file=sys.stderr)
            request = {
                "program": program,
                "model": model,
                "dtype": dtype,
                "file": str(file),
                "turns": turns,
            }
            runs.setdefault((program, dtype), []).append(_in_a_process(request))
    return [
        _row(model, ours, theirs, runs["ultraedit", ours], runs["naive", theirs])
        for ours, theirs in PAIRS
    ]


def _in_a_process(request: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own, so that memory is its own too."""
    command = [sys.executable, "-m", "benchmarks.bench", "--child", json.dumps(request)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _row(
    model: str,
    ours: str,
    theirs: str,
    our_runs: list[dict[str, Any]],
    their_runs: list[dict[str, Any]],
) -> dict[str, Any]:
    pairs = list(zip(our_runs, their_runs, strict=True))
    seconds = median(run["seconds_per_turn"] for run in our_runs)
    bound = median(run["bound_per_turn"] for run in our_runs)
    return {
        "model": model,
        "dtype": our_runs[0]["dtype"],
        "naive_dtype": their_runs[0]["dtype"],
        "asked": [ours, theirs],
        "seconds_per_turn": seconds,
        "naive_seconds_per_turn": median(run["seconds_per_turn"] for run in their_runs),
        "time_ratio": median(n["seconds_per_turn"] / o["seconds_per_turn"] for o, n in pairs),
        "bound_seconds_per_turn": bound,
        "share_of_bound": median(r["bound_per_turn"] / r["seconds_per_turn"] for r in our_runs),
        "peak_bytes": median(run["peak_bytes"] for run in our_runs),
        "naive_peak_bytes": median(run["peak_bytes"] for run in their_runs),
        "memory_ratio": median(n["peak_bytes"] / o["peak_bytes"] for o, n in pairs),
        "naive_phases": their_runs[0]["phases"],
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="100 ZsRE edits per turn; ratios are naive / ours, medians over pairs")
    for name in ("model", "ours", "naive", "s/turn", "naive", "faster", "bound", "share of bound"):
        table.add_column(name, justify="left" if name in ("model", "ours") else "right")
    for name in ("peak MiB", "naive", "leaner"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["model"],
            row["dtype"],
            row["naive_dtype"],
            f"{row['seconds_per_turn']:.2f}",
            f"{row['naive_seconds_per_turn']:.2f}",
            f"{row['time_ratio']:.2f}x",
            f"{row['bound_seconds_per_turn']:.2f}",
            f"{row['share_of_bound']:.0%}",
            f"{row['peak_bytes'] / 2**20:.0f}",
            f"{row['naive_peak_bytes'] / 2**20:.0f}",
            f"{row['memory_ratio']:.2f}x",
        )
    Console(width=120).print(table)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


# --- in the child process -------------------------------------------------------------------------


def _measure(program: str, model: str, dtype: str, file: str, turns: int) -> dict[str, Any]:
    """Load, warm up on a turn that is not counted, then time the turns."""
    from ultraedit.models import find_modules, load

    language_model = load(model, dtype=dtype)
    modules = find_modules(language_model.model, SETTINGS[model]["modules"])
    run = _run_ours if program == "ultraedit" else _run_naive
    measured = run(language_model, modules, SETTINGS[model]["eta"], file, turns)
    return measured | {"dtype": str(language_model.dtype).removeprefix("torch.")}


def _run_ours(
    language_model: Any, modules: dict[str, Any], eta: float, file: str, turns: int
) -> dict[str, Any]:
    from ultraedit.core.types import turns as cut
    from ultraedit.data import read
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.host.host import ModelHost
    from ultraedit.lifelong.loop import MemoryRecorder, keep_freed_memory, run_turns

    keep_freed_memory()
    edits = read(f"zsre:{file}", limit=(turns + 1) * EDITS_PER_TURN)
    host = ModelHost(language_model, list(modules))
    editor = UltraEdit(eta=eta)
    recorder = MemoryRecorder()
    batches = list(cut(edits, EDITS_PER_TURN))
    progress = run_turns(host, editor, batches[:1], recorder)
    machine.reset_peak()
    run_turns(host, editor, batches[1:], recorder, progress)
    peak = machine.peak_bytes()
    bounds = [_bound(host, [(e.prompt, e.target) for e in batch.edits]) for batch in batches[1:]]
    return {
        "seconds_per_turn": median(record.seconds for record in recorder.turns[1:]),
        "bound_per_turn": median(bounds),
        "peak_bytes": peak,
    }


def _bound(host: Any, pairs: list[tuple[str, str]]) -> float:
    """Seconds of one forward pass, and of the backward pass down to the lowest edited layer."""
    import torch

    from ultraedit.host import trace
    from ultraedit.lifelong.loop import synchronize

    model = host.language_model.model
    lowest = model.get_submodule(next(iter(host.modules)))
    items = host.encode(pairs)
    handle = lowest.register_forward_hook(lambda _, __, output: output.detach().requires_grad_())
    start = time.perf_counter()
    for _, batch in trace.batches(model, items):
        logits = trace.supervised_logits(model, batch)
        torch.autograd.backward(logits, torch.ones_like(logits))
    synchronize()
    seconds = time.perf_counter() - start
    handle.remove()
    return seconds


def _run_naive(
    language_model: Any, modules: dict[str, Any], eta: float, file: str, turns: int
) -> dict[str, Any]:
    from benchmarks.naive import naive_edit, read_zsre

    records = read_zsre(file, (turns + 1) * EDITS_PER_TURN)
    model, tokenizer = language_model.model, language_model.tokenizer
    naive_edit(model, tokenizer, records[:EDITS_PER_TURN], modules, eta=eta)
    machine.reset_peak()
    result = naive_edit(model, tokenizer, records[EDITS_PER_TURN:], modules, eta=eta)
    return {
        "seconds_per_turn": result.seconds / result.turns,
        "phases": {name: seconds / result.turns for name, seconds in result.phases.items()},
        "peak_bytes": machine.peak_bytes(),
    }


if __name__ == "__main__":
    main()

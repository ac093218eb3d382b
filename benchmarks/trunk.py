"""What the frozen trunk saves in a run that is scored again and again.

    python -m benchmarks.trunk                # 2,000 edits: about half an hour on two cores
    python -m benchmarks.trunk --edits 200    # a first look

SmolLM2 is edited with ZsRE rows and the modules of its preset, by a step that lasts for so many:
the preset's own is for a few hundred edits and breaks the model between 1,000 and 2,000 (LOG.md).
At every checkpoint all edits made so far are scored by teacher forcing: efficacy, generalization,
specificity. The same
run is timed with and without the trunk, each in a process of its own, and what both find is
compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
TARGETS = {10: 2.5, 30: 4.0}
"""By number of checkpoints, how many times faster the run should be."""


def main() -> None:
    """Time both ways, print the ratios and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--edits", type=int, default=2000)
    parser.add_argument("--edits-per-turn", type=int, default=50)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--eta", type=float, default=3e-4)
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    parser.add_argument("--no-write", action="store_true", help="leave the JSON as it is")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measure(**json.loads(options.child))))
        return
    file = inputs.zsre(options.data)
    request = {
        "model": options.model,
        "file": str(file),
        "edits": options.edits,
        "edits_per_turn": options.edits_per_turn,
        "eta": options.eta,
    }
    rows = [_compare(request, count) for count in options.checkpoints]
    _print_table(rows)
    if not options.no_write:
        path = machine.write("trunk.json", {**request, "file": file.name, "rows": rows})
        print(f"Written to {path.relative_to(ROOT)}")


def _compare(request: dict[str, Any], checkpoints: int) -> dict[str, Any]:
    runs = {}
    for trunk in (True, False):
        print(f"{checkpoints} checkpoints, trunk {trunk}", file=sys.stderr)
        child = json.dumps(request | {"checkpoints": checkpoints, "trunk": trunk})
        command = [sys.executable, "-m", "benchmarks.trunk", "--child", child]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        runs[trunk] = json.loads(done.stdout.splitlines()[-1])
    ours, plain = runs[True], runs[False]
    return {
        "checkpoints": checkpoints,
        "faster": plain["seconds"] / ours["seconds"],
        "target": TARGETS.get(checkpoints),
        "trunk": ours,
        "plain": plain,
        "last_scores_apart": max(
            abs(a - b) for a, b in zip(ours["scores"][-1], plain["scores"][-1], strict=True)
        ),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="A run scored over all edits so far at every checkpoint")
    for name in ("checkpoints", "plain s", "trunk s", "faster", "target", "last scores apart"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            str(row["checkpoints"]),
            f"{row['plain']['seconds']:.1f}",
            f"{row['trunk']['seconds']:.1f}",
            f"{row['faster']:.2f}x",
            "" if row["target"] is None else f"{row['target']:.1f}x",
            f"{100 * row['last_scores_apart']:.2f} points",
        )
    Console(width=100).print(table)


# --- in the child process -------------------------------------------------------------------------


def _measure(
    model: str,
    file: str,
    edits: int,
    edits_per_turn: int,
    eta: float,
    checkpoints: int,
    trunk: bool,
) -> dict[str, Any]:
    """One run. The model is loaded before the clock starts."""
    from ultraedit.core.types import turns as cut
    from ultraedit.data import read
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.evaluation.scoring import evaluate
    from ultraedit.host.host import ModelHost
    from ultraedit.lifelong.loop import MemoryRecorder, keep_freed_memory, run_turns
    from ultraedit.models import find_preset, load

    keep_freed_memory()
    language_model = load(model)
    preset = find_preset(language_model, "zsre")
    facts = read(f"zsre:{file}", limit=edits)
    batches = list(cut(facts, edits_per_turn))
    at = {round(len(batches) * (n + 1) / checkpoints) for n in range(checkpoints)}
    if len(at) < checkpoints:
        sys.exit(f"{checkpoints} checkpoints need more than {len(batches)} turns.")
    host = ModelHost(language_model, preset.modules)
    machine.reset_peak()
    start = time.perf_counter()
    if trunk:
        host.use_trunk()
    before = evaluate(host, facts, free_answers=0)
    spent = {"before": time.perf_counter() - start, "checkpoints": 0.0}
    scores = [before.scores]

    def after_turn(turn: Any, progress: Any) -> None:
        if turn.number in at:
            begin = time.perf_counter()
            seen = facts[: progress.edits]
            evaluation = evaluate(host, seen, reference=before.reference, free_answers=0)
            scores.append(evaluation.scores)
            spent["checkpoints"] += time.perf_counter() - begin

    progress = run_turns(
        host,
        UltraEdit(eta=eta, ridge=preset.ridge),
        batches,
        MemoryRecorder(),
        after_turn=after_turn,
    )
    return {
        "seconds": time.perf_counter() - start,
        "edit_seconds": progress.seconds,
        "before_seconds": spent["before"],
        "checkpoint_seconds": spent["checkpoints"],
        "peak_bytes": machine.peak_bytes(),
        "dtype": str(language_model.dtype).removeprefix("torch."),
        "modules": list(preset.modules),
        "scores": [
            [each.efficacy, each.generalization, each.specificity, each.agreement]
            for each in scores
        ],
        "kept_bytes": host.trunk.store.memory_bytes if host.trunk else 0,
    }


if __name__ == "__main__":
    main()

"""What several processes save in a run, and that they find what one finds.

    python -m benchmarks.distributed              # 100 ZsRE edits, two processes: minutes
    python -m benchmarks.distributed --edits 20   # a first look

SmolLM2 is edited with ZsRE rows and the settings of its preset, three times: by one process of
one thread, by one process of as many threads as there are processes otherwise, and by processes
of one thread each, which `torchrun` starts. Each is a run of the command line, so the seconds are
those that a user waits; those of the turns and of the evaluations are from its records.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
TARGET_POINTS = 1.0
"""How far efficacy, generalization and specificity may be from those of one process."""

SCORES = ("efficacy", "generalization", "specificity")


def main() -> None:
    """Time all three, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--free-answers", type=int, default=20)
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    parser.add_argument("--no-write", action="store_true", help="leave the JSON as it is")
    options = parser.parse_args()
    file = inputs.zsre(options.data)
    settings = ["--model", options.model, "--dtype", options.dtype, "--data", f"zsre:{file}"]
    settings += ["--limit", str(options.edits), "--free-answers", str(options.free_answers)]
    rows = [
        _measure(settings, processes=1, threads=1),
        _measure(settings, processes=1, threads=options.processes),
        _measure(settings, processes=options.processes, threads=1),
    ]
    apart = {
        name: 100 * abs(rows[2]["after"][name] - rows[0]["after"][name])
        for name in SCORES
        if rows[0]["after"][name] is not None
    }
    _print_table(rows)
    print(f"Points apart: {', '.join(f'{name} {value:.2f}' for name, value in apart.items())}")
    if not options.no_write:
        result = {
            "model": options.model,
            "dtype": options.dtype,
            "file": file.name,
            "edits": options.edits,
            "free_answers": options.free_answers,
            "target_points": TARGET_POINTS,
            "points_apart": apart,
            "rows": rows,
        }
        path = machine.write("distributed.json", result)
        print(f"Written to {path.relative_to(ROOT)}")


def _measure(settings: list[str], *, processes: int, threads: int) -> dict[str, Any]:
    """One run of the command line."""
    print(f"{processes} processes of {threads} threads", file=sys.stderr)
    launch = [sys.executable, "-m"]
    if processes > 1:
        launch += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        launch += ["-m"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [*launch, "ultraedit", "run", *settings, "--no-save-model", "--out", str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - start
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        lines = (out / "records.jsonl").read_text(encoding="utf-8").splitlines()
    checkpoints = [row for row in map(json.loads, lines) if row["kind"] == "checkpoint"]
    return {
        "processes": processes,
        "threads": threads,
        "seconds": seconds,
        "edit_seconds": summary["edit_seconds"],
        "evaluation_seconds": sum(row["seconds"] for row in checkpoints),
        "peak_memory_bytes_of_the_first": summary["peak_memory_bytes"],
        "before": {name: summary["before"][name] for name in SCORES},
        "after": {name: summary["after"][name] for name in (*SCORES, "agreement")},
        "free_efficacy": (summary["after"]["generation"] or {}).get("efficacy"),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="One run by one process and by several")
    for name in ("processes", "threads", "all s", "turns s", "evaluations s", "E", "G", "S"):
        table.add_column(name, justify="right")
    for row in rows:
        scores = [row["after"][name] for name in SCORES]
        table.add_row(
            str(row["processes"]),
            str(row["threads"]),
            *(f"{row[name]:.1f}" for name in ("seconds", "edit_seconds", "evaluation_seconds")),
            *("" if score is None else f"{100 * score:.1f}" for score in scores),
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

"""What `ultraedit plan` predicts against what a run took.

    python -m benchmarks.plan        # SmolLM2 and Gemma-3-270M in both precisions: minutes

Each pair is a dry run and a run of the same command line, in processes of their own. Memory is
``peak_memory_bytes`` of the run's summary, time that of its second turn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
TARGET = 0.15


def main() -> None:
    """Compare every model and precision, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", nargs="+", default=["smollm2", "gemma3-270m"])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--no-write", action="store_true", help="leave the JSON as it is")
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    options = parser.parse_args()
    file = inputs.zsre(options.data)
    rows = [_compare(m, d, file) for m in options.models for d in options.dtypes]
    for row in rows:
        print(
            f"{row['model']} {row['dtype']}: memory {row['memory_ratio']:.2f}, "
            f"time {row['time_ratio']:.2f} of what was taken"
        )
    if not options.no_write:
        path = machine.write("plan.json", {"target": TARGET, "rows": rows})
        print(f"Written to {path.relative_to(ROOT)}")


def _compare(model: str, dtype: str, file: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "ultraedit", "run", "--model", model, "--dtype", dtype]
        command += ["--data", f"zsre:{file}", "--limit", "200", "--free-answers", "0"]
        command += ["--no-save-model", "--out", str(out), "--json"]
        planned = _json([*command, "--dry-run"])["predicted"]
        taken = _json(command)["peak_memory_bytes"]
        records = (out / "records.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [row for row in map(json.loads, records) if row["kind"] == "turn"]
    return {
        "model": model,
        "dtype": dtype,
        "planned_bytes": planned["peak_bytes"],
        "taken_bytes": taken,
        "memory_ratio": planned["peak_bytes"] / taken,
        "planned_seconds": planned["seconds_per_turn"],
        "taken_seconds": turns[-1]["seconds"],
        "time_ratio": planned["seconds_per_turn"] / turns[-1]["seconds"],
        "parts": planned["memory"],
    }


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


if __name__ == "__main__":
    main()

"""Scores of edited models in transformers, and of their GGUF files in llama.cpp.

    python -m benchmarks.gguf_scores --data ../shared/data

Facts of ZsRE from row 5,001 on, by `anchored` with its defaults: 200 with SmolLM2 in turns of 20,
50 with Gemma-3-270M in one turn. Each run is exported with ``--score`` in two types. Half an hour
on one core. Everything goes to ``benchmarks/results/gguf-scores.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine

FIRST = 5000
"""Rows of ZsRE that are passed over: settings are chosen and scores compared behind them."""

RUNS = (("smollm2", 200, 20), ("gemma3-270m", 50, 50))
"""Model, facts, and facts per turn."""

TYPES = ("f16", "q8_0")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    rows = json.loads((parser.parse_args().data / "zsre" / "zsre_10k.json").read_text("utf-8"))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for model, facts, turn in RUNS:
            place = Path(folder, model)
            place.mkdir()
            (place / "facts.json").write_text(json.dumps(rows[FIRST : FIRST + facts]), "utf-8")
            results.append({"model": model, "facts": facts, "edits_per_turn": turn})
            results[-1]["scores"] = scores(place, model, turn)
            print(json.dumps(results[-1]), flush=True)
    print(machine.write("gguf-scores.json", {"first_row": FIRST + 1, "runs": results}))


def scores(place: Path, model: str, turn: int) -> dict[str, Any]:
    """Scores in transformers, and by type of the edited tensors in llama.cpp.

    Args:
        place: A folder with the facts, for the run and its files.
        model: The model.
        turn: Facts per turn.
    """
    common = ["--editor", "anchored", "--edits-per-turn", str(turn), "--free-answers", "40"]
    _ultraedit(place, "run", "--model", model, "--data", "zsre:facts.json", *common, "--out", "run")
    found: dict[str, Any] = {}
    for kind in TYPES:
        words = ("--as", "gguf", "--type", kind, "--score", "--out", f"{kind}.gguf", "--json")
        sides = json.loads(_ultraedit(place, "export", "run", *words))["scores"]
        found["transformers"], found[f"llama.cpp, {kind}"] = (
            sides["transformers"],
            sides["llama.cpp"],
        )
    return found


def _ultraedit(place: Path, *words: str) -> str:
    command = [sys.executable, "-m", "ultraedit", *words]
    return subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()

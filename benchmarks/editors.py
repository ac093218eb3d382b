"""Every editor on the same facts, in the same turns, scored the same way.

    python -m benchmarks.editors                        # all of them: an hour and more on two cores
    python -m benchmarks.editors --editors memit ft-m   # some; the others' rows are kept

200 facts of CounterFact in turns of 20 on SmolLM2, presets throughout, one process per editor.
Second moments come from the Wikipedia paragraphs in the shared data. The table goes to the standard
output as Markdown, everything else to ``benchmarks/results/editors.json``.
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
NAME = "editors.json"
LIMIT, EDITS_PER_TURN, FREE_ANSWERS = 200, 20, 10


def main() -> None:
    """Run the editors, write each row as it comes, and print the table."""
    from ultraedit.editors import EDITORS

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--editors", nargs="+", default=list(EDITORS), choices=list(EDITORS))
    parser.add_argument("--data", default=None, help="folder of the data; default: ../shared/data")
    parser.add_argument("--limit", type=int, default=LIMIT)
    options = parser.parse_args()
    data = Path(options.data) if options.data else inputs.data_folder()
    rows = _earlier(options.limit)
    for name in options.editors:
        print(name, file=sys.stderr)
        rows[name] = _row(name, data, options.limit)
        path = machine.write(
            NAME, {"limit": options.limit, "edits_per_turn": EDITS_PER_TURN, "rows": rows}
        )
    _print_table(rows)
    print(f"Written to {path.relative_to(ROOT)}", file=sys.stderr)


def _earlier(limit: int) -> dict[str, Any]:
    """Rows of an earlier run of this script with as many edits."""
    path = ROOT / "benchmarks" / "results" / NAME
    if not path.is_file():
        return {}
    found = json.loads(path.read_text())
    return dict(found["rows"]) if found["limit"] == limit else {}


def _row(editor: str, data: Path, limit: int) -> dict[str, Any]:
    """Run one editor in a process of its own and take its summary."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "ultraedit", "run", "--model", "smollm2"]
        command += ["--editor", editor, "--limit", str(limit)]
        command += ["--data", f"counterfact:{data / 'counterfact' / 'counterfact_20k.json'}"]
        command += ["--corpus", str(data / "text" / "wikipedia_paragraphs.jsonl.gz")]
        command += ["--edits-per-turn", str(EDITS_PER_TURN), "--free-answers", str(FREE_ANSWERS)]
        command += ["--no-save-model", "--json", "--out", str(Path(place) / "run")]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    taken = ("edits", "edit_seconds", "peak_memory_bytes", "before", "after", "remarks")
    row = {name: summary[name] for name in taken}
    resolved = summary["resolved"]
    return row | {key: resolved[key] for key in ("options", "modules", "preset", "dtype")}


def _print_table(rows: dict[str, Any]) -> None:
    before = next(iter(rows.values()))["before"]
    print("| editor | E | G | S | agreement | exact match | s / 100 edits | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(f"| unedited | {_scores(before)} | | |")
    for name, row in rows.items():
        seconds = 100 * row["edit_seconds"] / row["edits"]
        memory = row["peak_memory_bytes"] / 2**20
        print(f"| {name} | {_scores(row['after'])} | {seconds:.1f} | {memory:,.0f} MiB |")


def _scores(scores: dict[str, Any]) -> str:
    names = ("efficacy", "generalization", "specificity", "agreement")
    values = [scores[name] for name in names] + [scores["generation"]["efficacy"]]
    return " | ".join("" if value is None else f"{100 * value:.1f}" for value in values)


if __name__ == "__main__":
    main()

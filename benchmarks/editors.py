"""Every editor on the same facts, in the same turns, scored the same way.

    python -m benchmarks.editors                        # CounterFact: 25 minutes on one core
    python -m benchmarks.editors --facts zsre           # ZsRE, hypernetworks with a net and without
    python -m benchmarks.editors --editors memit ft-m   # some; the others' rows are kept

200 facts in turns of 20 on SmolLM2, presets throughout, one process per editor. Second moments come
from the Wikipedia paragraphs in the shared data. Editors whose net is trained are trained on ZsRE
rows behind those that are edited; the time of that stands apart. The table goes to the standard
output as Markdown, everything else to ``benchmarks/results/editors-FACTS.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
LIMIT, EDITS_PER_TURN = 200, 20


class Facts(NamedTuple):
    """A data set of the table."""

    file: str
    """Below the folder of data."""
    free_answers: int
    """Edits that are also asked freely."""
    training: tuple[str, ...] = ()
    """Options of `ultraedit train`. None: no net is trained on these facts."""


FACTS = {
    "counterfact": Facts("counterfact/counterfact_20k.json", 10),
    "zsre": Facts(
        "zsre/zsre_10k.json", 50, ("--limit", "500", "--validation", "100", "--check-every", "5")
    ),
}
TRAINED = ("mend", "malmen", "rledit")
"""Editors of the paper that are also run with a trained net."""

NET = " + net"
"""Ends the name of a row whose editor has one."""

AUTO = " + auto"
"""Ends the name of UltraEdit's row with ``--eta auto``: a step that nobody chose."""


def main() -> None:
    """Run the editors, write each row as it comes, and print the table."""
    from ultraedit.editors import EDITORS

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--facts", default="counterfact", choices=list(FACTS))
    parser.add_argument("--editors", nargs="+", default=list(EDITORS), choices=list(EDITORS))
    parser.add_argument("--data", default=None, help="folder of the data; default: ../shared/data")
    parser.add_argument("--limit", type=int, default=LIMIT)
    options = parser.parse_args()
    folder = Path(options.data) if options.data else inputs.data_folder()
    name = f"editors-{options.facts}.json"
    rows = _earlier(name, options.limit)
    for editor in options.editors:
        for kind in _kinds(editor, options.facts):
            print(editor + kind, file=sys.stderr)
            rows[editor + kind] = _row(editor, options.facts, folder, options.limit, kind)
            path = machine.write(
                name, {"limit": options.limit, "edits_per_turn": EDITS_PER_TURN, "rows": rows}
            )
    _print_table(rows)
    print(f"Written to {path.relative_to(ROOT)}", file=sys.stderr)


def _kinds(editor: str, facts: str) -> Iterator[str]:
    """Ends of the names of an editor's rows."""
    yield ""
    if editor in TRAINED and FACTS[facts].training:
        yield NET
    if editor == "ultraedit":
        yield AUTO


def _earlier(name: str, limit: int) -> dict[str, Any]:
    """Rows of an earlier run of this script with as many edits."""
    path = ROOT / "benchmarks" / "results" / name
    if not path.is_file():
        return {}
    written = json.loads(path.read_text())
    return dict(written["rows"]) if written["limit"] == limit else {}


def _row(editor: str, facts: str, folder: Path, limit: int, kind: str) -> dict[str, Any]:
    """Run one editor in a process of its own and take its summary."""
    chosen = FACTS[facts]
    common = ["--model", "smollm2", "--data", f"{facts}:{folder / chosen.file}"]
    common += ["--edits-per-turn", str(EDITS_PER_TURN), "--json"]
    with tempfile.TemporaryDirectory() as place:
        training = {}
        command = ["run", *common, "--editor", editor, "--limit", str(limit)]
        command += ["--corpus", str(folder / "text" / "wikipedia_paragraphs.jsonl.gz")]
        command += ["--perplexity", str(folder / "text" / "wikipedia_paragraphs.jsonl.gz")]
        command += ["--free-answers", str(chosen.free_answers)]
        command += ["--chat-answers", "--yes"]
        command += ["--no-save-model", "--out", str(Path(place) / "run")]
        if kind == AUTO:
            command += ["--eta", "auto"]
        if kind == NET:
            net = str(Path(place) / "net")
            options = ["--edited", str(limit), *chosen.training, "--out", net]
            training = _json(["train", editor, *common, *options])
            command += ["--net", net]
        summary = _json(command)
    taken = ("edits", "edit_seconds", "peak_memory_bytes", "before", "after", "remarks")
    taken += ("controls", "verdict")
    row = {name: summary[name] for name in taken}
    if training:
        told = ("rows", "validation_rows", "turns", "stopped_early", "checks")
        row["training"] = {"seconds": training["seconds"]}
        row["training"] |= {name: training["training"][name] for name in told}
    resolved = summary["resolved"]
    row |= {key: resolved[key] for key in ("options", "modules", "preset", "dtype")}
    plain = json.dumps(row).replace(f"{folder}/", "").replace(f"{place}/", "")
    tidied: dict[str, Any] = json.loads(plain)  # Where things lay on this machine says nothing.
    return tidied


def _json(arguments: Sequence[str]) -> dict[str, Any]:
    """Run the command line and read what it prints."""
    command = [sys.executable, "-m", "ultraedit", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def _print_table(rows: dict[str, Any]) -> None:
    before = next(iter(rows.values()))["before"]
    heads = ("E", "G", "S", "agreement", "exact match", "perplexity", "training s", "s / 100 edits")
    print(f"| editor | {' | '.join(heads)} | peak memory |")
    print(f"| --- |{' ---: |' * (len(heads) + 1)}")
    print(f"| unedited | {_scores(before)} | | | |")
    for name, row in rows.items():
        seconds = 100 * row["edit_seconds"] / row["edits"]
        memory = row["peak_memory_bytes"] / 2**20
        training = f"{row['training']['seconds']:.0f}" if "training" in row else ""
        print(
            f"| {name} | {_scores(row['after'])} | {training} | {seconds:.1f} | {memory:,.0f} MiB |"
        )


def _scores(scores: dict[str, Any]) -> str:
    names = ("efficacy", "generalization", "specificity", "agreement")
    values = [scores[name] for name in names] + [scores["generation"]["efficacy"]]
    shown = ["" if value is None else f"{100 * value:.1f}" for value in values]
    read = scores.get("perplexity")
    return " | ".join([*shown, "" if read is None else f"{read:,.1f}"])


if __name__ == "__main__":
    main()

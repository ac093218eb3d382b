"""What training gains MALMEN where it was made for: each batch of edits on the unedited model.

    python -m benchmarks.nets                  # trains a net first: ten minutes on one core
    python -m benchmarks.nets --net a.net      # with one that `ultraedit train malmen` made

The first 200 rows of ZsRE in ten batches of 20 on SmolLM2, and after each batch the model is what
it was: the protocol of MALMEN's own evaluation, not that of a lifelong run. The net is trained on
the 800 rows behind them. Beside it stands the untrained editor with three steps, so that a net
which merely writes more would show.
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
EDITS, BATCH, TRAINING_ROWS = 200, 20, 800
ALPHAS = (0.5, 0.8, 1.2)
NAMES = ("efficacy", "generalization", "specificity", "agreement")


def main() -> None:
    """Train or take a net, compare, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--net", help="a net of MALMEN for smollm2; default: train one")
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    options = parser.parse_args()
    file = inputs.zsre(options.data)
    with tempfile.TemporaryDirectory() as folder:
        net = Path(options.net) if options.net else Path(folder) / "net"
        if not options.net:
            _train(net, file)
        training = json.loads(_about(net))
        editors: dict[str, dict[str, Any]] = {
            f"untrained, alpha {alpha}": {"alpha": alpha} for alpha in ALPHAS
        }
        rows = _compare(editors | {"trained": {"net": str(net)}}, file)
    print("| MALMEN | efficacy | generalization | specificity | agreement |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, scores in rows.items():
        print(f"| {name} | {' | '.join(f'{100 * scores[key]:.1f}' for key in NAMES)} |")
    about = {"edits": EDITS, "batch": BATCH, "training": training, "rows": rows}
    path = machine.write("nets.json", about)
    print(f"Written to {path.relative_to(ROOT)}", file=sys.stderr)


def _train(net: Path, file: Path) -> None:
    command = [sys.executable, "-m", "ultraedit", "train", "malmen", "--model", "smollm2"]
    command += ["--data", f"zsre:{file}", "--edited", str(EDITS), "--limit", str(TRAINING_ROWS)]
    command += ["--edits-per-turn", str(BATCH), "--validation", "0", "--out", str(net)]
    subprocess.run(command, cwd=ROOT, check=True)


def _about(net: Path) -> str:
    """What the net says of its training, but where its data lay."""
    from ultraedit.core.nets import read_about

    training = read_about(net)["training"]
    return json.dumps({key: value for key, value in training.items() if key != "data"})


def _compare(editors: dict[str, dict[str, Any]], file: Path) -> dict[str, dict[str, float]]:
    """Scores by editor, over all edits, each scored right after its own batch."""
    from ultraedit.core.types import turns
    from ultraedit.data import read
    from ultraedit.editors import make_editor
    from ultraedit.evaluation.outcome import Reference
    from ultraedit.evaluation.scoring import evaluate
    from ultraedit.host.host import ModelHost
    from ultraedit.lifelong.loop import MemoryRecorder, run_turns
    from ultraedit.models import find_preset, load

    model = load("smollm2")
    host = ModelHost(model, find_preset(model, "zsre").modules)
    batches = list(turns(read(f"zsre:{file}", limit=EDITS), BATCH))
    before: list[Reference] = [
        evaluate(host, batch.edits, free_answers=0).reference for batch in batches
    ]
    rows = {}
    for name, options in editors.items():
        editor = make_editor("malmen", options)
        total = dict.fromkeys(NAMES, 0.0)
        for batch, reference in zip(batches, before, strict=True):
            run_turns(host, editor, [batch], MemoryRecorder())
            scores = evaluate(host, batch.edits, reference=reference, free_answers=0).scores
            host.weights.reset()
            for key in NAMES:
                total[key] += getattr(scores, key) * len(batch.edits) / EDITS
        rows[name] = total
    return rows


if __name__ == "__main__":
    main()

"""What keeping a run costs, and how long the way back takes.

    python -m benchmarks.store            # part of ``make bench``: about a minute on two cores

Ten turns of 100 ZsRE edits on SmolLM2 with a journal and a kept snapshot every five turns. The
store's own time is measured inside the run: everything between a turn's end and the next turn's
beginning, writing and syncing included. Then the model goes back to the turn that is furthest from
the snapshot before it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine
from benchmarks.bench import EDITS_PER_TURN, ROOT, SETTINGS

MODEL, TURNS, EVERY = "smollm2", 10, 5


def main() -> None:
    """Measure, print a line per figure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", default=None, help="ZsRE file; default: ../shared/data")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    file = inputs.zsre(options.data)
    figures = measure(file, options.dtype)
    print(
        f"The store takes {figures['share']:.1%} of the edit time: {figures['store_seconds']:.2f} "
        f"s of {figures['edit_seconds']:.1f} s in {TURNS} turns of {EDITS_PER_TURN}, "
        f"{figures['snapshots']} snapshots of {figures['snapshot_bytes'] / 2**20:.1f} MiB included "
        f"(the edited weights have {figures['edited_bytes'] / 2**20:.1f} MiB)."
    )
    print(
        f"Back to turn {figures['back_to']}, {figures['replayed']} turns after a snapshot: "
        f"{figures['back_seconds']:.1f} s; {EVERY} turns took {figures['k_turns_seconds']:.1f} s."
    )
    path = machine.write("store.json", figures)
    print(f"Written to {path.relative_to(ROOT)}")


def measure(file: Path, dtype: str) -> dict[str, Any]:
    """Run the turns with a journal, then go back."""
    from ultraedit.core.types import Carried, turns
    from ultraedit.data import read
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.host.host import ModelHost
    from ultraedit.lifelong.loop import keep_freed_memory, run_turns
    from ultraedit.models import load
    from ultraedit.runs.replay import restore
    from ultraedit.runs.store import RunFolder
    from ultraedit.runs.store.random_state import random_state

    keep_freed_memory()
    edits = read(f"zsre:{file}", limit=TURNS * EDITS_PER_TURN)
    loaded = load(MODEL, dtype=dtype)
    host = ModelHost(loaded, [str(SETTINGS[MODEL]["modules"])])
    editor = UltraEdit(eta=SETTINGS[MODEL]["eta"])
    with tempfile.TemporaryDirectory() as place:
        settings = {"snapshot_every": EVERY, "data_sha256": ""}
        folder = RunFolder.create(Path(place) / "run", {"random": random_state().hex()}, settings)
        timed = _Timed(folder)
        progress = run_turns(host, editor, turns(edits, EDITS_PER_TURN), timed)
        timed.settle(Carried(host.weights.changes, progress.state))
        snapshots = [file for file in folder.journal.files() if file.turn is not None]
        seconds = [entry.record["seconds"] for entry in folder.journal.turns()]
        back_to = TURNS - 1
        start = time.perf_counter()
        restore(host, editor, folder.journal, back_to)
        back_seconds = time.perf_counter() - start
        folder.close()
    return {
        "model": MODEL,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "edits_per_turn": EDITS_PER_TURN,
        "turns": TURNS,
        "snapshot_every": EVERY,
        "edit_seconds": sum(seconds),
        "store_seconds": timed.seconds,
        "share": timed.seconds / sum(seconds),
        "snapshots": len(snapshots),
        "snapshot_bytes": snapshots[-1].bytes,
        "edited_bytes": sum(4 * change.numel() for change in host.weights.changes.values()),
        "back_to": back_to,
        "replayed": back_to % EVERY,
        "back_seconds": back_seconds,
        "k_turns_seconds": sum(seconds[-EVERY:]),
    }


class _Timed:
    """A run folder as a recorder, and the time that it takes."""

    def __init__(self, folder: Any) -> None:
        self._folder = folder
        self.seconds = 0.0

    def _time(self, work: Any, *args: Any) -> None:
        start = time.perf_counter()
        work(*args)
        self.seconds += time.perf_counter() - start

    def turn(self, record: Any, turn: Any, carried: Any) -> None:
        self._time(self._folder.turn, record, turn, carried)

    def checkpoint(self, record: Any) -> None:
        self._time(self._folder.checkpoint, record)

    def settle(self, carried: Any) -> None:
        self._time(self._folder.settle, carried)


if __name__ == "__main__":
    main()

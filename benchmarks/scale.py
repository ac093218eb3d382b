"""Long streams of edits: does a turn still cost the same, and do the facts hold?

    python -m benchmarks.scale synthetic     # 1,000,000 edits of a small random model
    python -m benchmarks.scale facts         # 50,000 facts of EntityQuestions in SmolLM2
    python -m benchmarks.scale synthetic facts --edits 2000 --no-write    # a first look

Both are ordinary runs with ``--score-sample`` and ``--score-newest``, under ``runs/scale``. A part
that was killed goes on where it stood when the command is given again; ``--fresh`` begins anew.

*synthetic*: time per turn and memory around the 10,000th, the 100,000th and the last edit. A window
of 5,000 edits ends at each mark; its time is that of the whole loop: reading, tokenizing, editing
and the journal. Processor time is noted beside wall time, since a shared machine moves the latter.

*facts*: efficacy on a fixed sample of 2,000 and on the newest 500 edits, with specificity and
agreement on a question of another relation that is never edited. The preset's step, 1e-3, was
measured on 500 edits and is too large for so many: see `ETA` for what was tried.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import inputs, machine, stream_facts

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
EDITS = {"synthetic": 1_000_000, "facts": 50_000}
EDITS_PER_TURN = 100
SAMPLE, NEWEST = 2_000, 500
MARKS = (10_000, 100_000, 1_000_000)
WINDOW = 5_000
FLAT = 1.1
"""Largest figure of all marks over the smallest that counts as flat."""

HIDDEN, LAYERS = 192, 6
"""Size of the random model: a million edits take about a quarter of an hour on one core."""

ETA = 1e-4
"""Step of the real facts. After 2,000 of them the largest relative change of a weight is 2.01 with
1e-3 (collapsed: efficacy 24 %), 0.25 with 3e-4 (51 %, agreement 39 %) and 0.09 with 1e-4 (34 %,
68 %). The smaller two grow with the root of the number of edits, so 50,000 should bring 1e-4 to 0.4
and 3e-4 to 1.2; 1e-3 had 0.6 after 1,000 edits and collapsed from there. LOG.md, 2026-11-22."""


def main() -> None:
    """Do the parts that are named, and write their JSON and their plots."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", default=list(EDITS), help="synthetic, facts or both")
    parser.add_argument("--edits", type=int, default=None)
    parser.add_argument("--eta", type=float, default=ETA, help="step of the facts")
    parser.add_argument("--model", default="smollm2", help="model of the facts")
    parser.add_argument("--data", default=None, help="EntityQuestions; default: ../shared/data")
    parser.add_argument("--work", default=str(ROOT / "runs" / "scale"), help="where runs lie")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--no-write", action="store_true", help="leave JSON and plots as they are")
    options = parser.parse_args()
    for part in options.parts:
        if part not in EDITS:
            parser.error(f"unknown part {part!r}: take synthetic or facts")
        edits = options.edits or EDITS[part]
        name = part if part == "synthetic" or options.eta == ETA else f"{part}-{options.eta:g}"
        place = Path(options.work) / f"{name}-{edits}"
        if options.fresh:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        result, image = (synthetic if part == "synthetic" else facts)(place, edits, options)
        print(json.dumps(result, indent=2))
        if not options.no_write:
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / f"scale-{name}.png").write_bytes(image)
            print(f"Written to {machine.write(f'scale-{name}.json', result).relative_to(ROOT)}")


def synthetic(place: Path, edits: int, options: argparse.Namespace) -> tuple[dict[str, Any], bytes]:
    """Make many made-up edits and look at what a turn costs on the way."""
    ready = place / "ready"
    if not ready.exists():
        stream_facts.write_model(place / "model", HIDDEN, LAYERS)
        stream_facts.write_synthetic(place / "facts.jsonl", edits)
        ready.touch()
    config = _config(place, edits, str(place / "model"))
    config |= {
        "modules": f"layers.[{LAYERS - 1}].mlp.down_proj",
        "dtype": "float32",
        "options": {"eta": "auto", "alpha": 0.2, "passes": 1},
    }
    watch = _Watch(edits, place / "marks.jsonl")
    _carry_out(config, place / "run", watch)
    rows = [_with_turns(mark, place / "run") for mark in watch.marks()]
    if len(rows) < len(watch.all):
        sys.exit("The run was stopped at a mark, so that nothing was noted there. Give --fresh.")
    summary = json.loads((place / "run" / "summary.json").read_text(encoding="utf-8"))
    names = ("wall_seconds_per_turn", "cpu_seconds_per_turn", "turn_seconds", "peak_bytes")
    spread = {name: max(r[name] for r in rows) / min(r[name] for r in rows) for name in names}
    flat = ("cpu_seconds_per_turn", "peak_bytes")
    result = {
        **_described(config, summary),
        "hidden": HIDDEN,
        "layers": LAYERS,
        "window": WINDOW,
        "marks": rows,
        "largest_over_smallest": spread,
        "flat_within": FLAT,
        "is_flat": all(spread[name] <= FLAT for name in flat),
        "curve": list(_curve(place / "run")),
    }
    return result, _draw_costs(place / "run")


def facts(place: Path, edits: int, options: argparse.Namespace) -> tuple[dict[str, Any], bytes]:
    """Make many real edits and look at how they hold."""
    table = inputs.facts_file(options.data, "triples", "entityquestions_220k.tsv.gz")
    ready = place / "ready"
    if not ready.exists():
        stream_facts.write_real(table, place / "facts.jsonl", edits)
        ready.touch()
    config = _config(place, edits, options.model)
    config |= {"options": {"eta": options.eta}, "trunk": True}
    _carry_out(config, place / "run", _Watch(edits, place / "marks.jsonl"))
    summary = json.loads((place / "run" / "summary.json").read_text(encoding="utf-8"))
    curve = list(_curve(place / "run"))
    return {**_described(config, summary), "curve": curve}, _draw_curve(place / "run")


def _config(place: Path, edits: int, model: str) -> dict[str, Any]:
    turns = -(-edits // EDITS_PER_TURN)
    shares = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
    return {
        "model": model,
        "data": str(place / "facts.jsonl"),
        "edits_per_turn": EDITS_PER_TURN,
        "evaluate_at": sorted({max(1, round(turns * share)) for share in shares}),
        "score_sample": SAMPLE,
        "score_newest": NEWEST,
        "free_answers": 0,
        "snapshot_every": 1_000,
        "save_model": False,
    }


def _carry_out(config: dict[str, Any], out: Path, watch: Any) -> None:
    """Do a run, or what is left of it."""
    from ultraedit.core.files import JOURNAL
    from ultraedit.runs import workflow
    from ultraedit.runs.config import make_config
    from ultraedit.runs.store.schema import is_blank

    if (out / JOURNAL).exists() and not is_blank(out / JOURNAL):
        workflow.resume(out, watch)
    else:
        workflow.run(make_config(config), out, watch)


class _Watch:
    """Notes what a window of turns costs in front of each mark."""

    def __init__(self, edits: int, file: Path) -> None:
        self._edits, self._file = edits, file
        self.all = sorted({mark for mark in MARKS if mark < edits} | {edits})
        self._stage, self._made = "", 0
        self._begun: tuple[int, float, float] | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self._stage = name
        if name == "Editing" and total is not None:
            self._made = self._edits - total
            self._begun = None  # a checkpoint, or another process, lies in between
            self._begin_if_due()

    def advance(self, steps: int = 1) -> None:
        if self._stage != "Editing":
            return
        before, self._made = self._made, self._made + steps
        for mark in self.all:
            if before < mark <= self._made and self._begun is not None:
                self._note(mark, self._begun)
                self._begun = None
        self._begin_if_due()

    def _begin_if_due(self) -> None:
        mark = next((mark for mark in self.all if mark > self._made), None)
        near = mark is not None and self._made >= mark - min(WINDOW, mark // 2)
        if near and self._begun is None:
            self._begun = (self._made, *_clocks())

    def _note(self, mark: int, begun: tuple[int, float, float]) -> None:
        from ultraedit.lifelong.loop import peak_memory

        turns = (self._made - begun[0]) / EDITS_PER_TURN
        wall, cpu = _clocks()
        row = {
            "edits": mark,
            "turns": turns,
            "wall_seconds_per_turn": (wall - begun[1]) / turns,
            "cpu_seconds_per_turn": (cpu - begun[2]) / turns,
            "peak_bytes": peak_memory(),
            "resident_bytes": _resident(),
        }
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(row)}\n")

    def marks(self) -> list[dict[str, Any]]:
        """What was noted, by this process or one before it."""
        rows = map(json.loads, self._file.read_text(encoding="utf-8").splitlines())
        return list({row["edits"]: row for row in rows}.values())


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _resident() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _lines(run: Path) -> Iterator[dict[str, Any]]:
    with (run / "records.jsonl").open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _with_turns(mark: dict[str, Any], run: Path) -> dict[str, Any]:
    """A mark with the median time of the edit step alone in its window."""
    first, last = mark["edits"] - mark["turns"] * EDITS_PER_TURN, mark["edits"]
    seconds = [
        line["seconds"]
        for line in _lines(run)
        if line["kind"] == "turn" and first < line["total_edits"] <= last
    ]
    return mark | {"turn_seconds": median(seconds)}


def _curve(run: Path) -> Iterator[dict[str, Any]]:
    """The scores of every checkpoint, without those by turn."""
    names = ("efficacy", "specificity", "agreement")
    for line in _lines(run):
        if line["kind"] == "checkpoint":
            newest = line["newest"]
            yield {
                "edits": line["made"],
                "scored": line["edits"],
                "overruled": line["overruled"],
                "seconds": line["seconds"],
                "sample": {name: line["scores"][name] for name in names},
                "newest": newest and {name: newest["scores"][name] for name in names[:2]},
            }


def _described(config: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "config": config | {"model": Path(config["model"]).name, "data": "facts.jsonl"},
        "options": summary["resolved"]["options"],
        "modules": summary["resolved"]["modules"],
        "dtype": summary["resolved"]["dtype"],
        "edits": summary["edits"],
        "edit_seconds": summary["edit_seconds"],
        "edits_per_second": summary["edits_per_second"],
        "peak_bytes": summary["peak_memory_bytes"],
    }


def _draw_curve(run: Path) -> bytes:
    from ultraedit.report.plots import draw_curves
    from ultraedit.report.reading import read_run

    return draw_curves(read_run(run).history.points).png


def _draw_costs(run: Path) -> bytes:
    """Time per turn, its median over neighboring turns, and peak memory over the edits."""
    from ultraedit.report.figures import COLORS, draw

    turns = [line for line in _lines(run) if line["kind"] == "turn"]
    size = max(1, len(turns) // 500)
    parts = [turns[start : start + size] for start in range(0, len(turns), size)]
    edits = [part[-1]["total_edits"] for part in parts]
    panels = {
        "Time per turn of 100 edits, ms": [
            1000 * median(line["seconds"] for line in part) for part in parts
        ],
        "Peak memory, MiB": [part[-1]["memory_bytes"] / 2**20 for part in parts],
    }

    def paint(figure: Any) -> None:
        for panel, (title, values), color in zip(
            figure.subplots(1, 2), panels.items(), COLORS, strict=False
        ):
            panel.plot(edits, values, color=color, linewidth=1.2)
            panel.set_title(title)
            panel.set_xlabel("edits made")
            panel.set_xscale("log")
            panel.set_ylim(0, 1.15 * max(values))
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")

    return draw(9.0, 3.4, paint)


if __name__ == "__main__":
    main()

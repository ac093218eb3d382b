"""A run that fails between any two statements, and goes on, ends as if nothing had happened."""

from __future__ import annotations

import copy
import gc
import json
import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from tests.runs.faults import Happens, Images, attempt, fail, press_ctrl_c, spread
from tests.tiny import tiny_model
from ultraedit import report
from ultraedit.core.files import sha256
from ultraedit.host.distributed import startup as joining
from ultraedit.host.distributed.processes import here
from ultraedit.models import save
from ultraedit.runs import base_model as opening
from ultraedit.runs import workflow
from ultraedit.runs.config import RunConfig, make_config
from ultraedit.runs.revert import revert
from ultraedit.runs.rollback import rollback
from ultraedit.runs.store import JOURNAL, Journal, digest, folder, read_snapshot, schema
from ultraedit.runs.store.folder import refuse_taken
from ultraedit.runs.verify import verify

NAMES = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gil", "Hal", "Ida")
TIMES = ("seconds", "memory_bytes", "edit_seconds", "edits_per_second", "peak_memory_bytes")
"""What no two runs have in common."""


# A file that a fault kept from being closed is closed by the end of the process elsewhere.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Scenario(NamedTuple):
    """Something that is done to a run folder, and done again until it is done."""

    name: str
    do: Callable[[Path], Any]
    """Begins it, or goes on with it."""
    prepare: Callable[[Path], Any] = lambda out: None
    """Makes the folder that it starts from."""
    soonest: float = folder.SOONEST
    """Seconds until the latest snapshot is renewed; 0 renews it every turn."""


def go_on(config: RunConfig, out: Path) -> None:
    """Begin a run, or resume it."""
    if (out / JOURNAL).exists() and not schema.is_blank(out / JOURNAL):
        workflow.resume(out)
    else:
        workflow.run(config, out)


def add(changes: dict[str, Any], out: Path) -> None:
    """Append to a run of two turns, or resume that."""
    journal = Journal.open(out / JOURNAL)
    jobs, head, ended = len(journal.jobs()), journal.head(), journal.job().ended
    journal.close()
    if ended is None or (jobs > 1 and head > 2):
        workflow.resume(out)
    else:
        workflow.append(out, changes)


def take_out(out: Path) -> None:
    """Take an edit out of a run, or finish that."""
    journal = Journal.open(out / JOURNAL)
    kind = journal.turn(journal.head()).kind
    journal.close()
    if kind == "revert":
        workflow.resume(out)
    else:
        revert(out, ["3"])


class Place:
    """A tiny model, some facts, and the scenarios that play there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tiny = tiny_model(layers=2)
        save(self.tiny, path / "tiny")
        facts = [
            {"prompt": f"Who leads town {n}?", "target": name, "id": str(n)}
            for n, name in enumerate(NAMES)
        ]
        (path / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
        more = [{"prompt": f"Who leads hill {n}?", "target": "Jo"} for n in range(5)]
        (path / "more.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in more))
        run = self.config()
        guarded = self.config(
            evaluate_every=1, guard={"norm": self.norm_before(3)}, guard_action="back"
        )
        stopped = self.config(evaluate_every=1, guard={"norm": self.norm_before(3)})
        short = self.config(turns=2, save_model=False)
        whole = self.config(save_model=True)
        scenarios = (
            Scenario("run", lambda out: go_on(run, out)),
            Scenario("run, latest snapshot every turn", lambda out: go_on(run, out), soonest=0.0),
            Scenario("taken back by the guard", lambda out: go_on(guarded, out)),
            Scenario("ended by the guard", lambda out: go_on(stopped, out)),
            Scenario(
                "addition",
                lambda out: add({"data": str(path / "more.jsonl"), "evaluate_every": 2}, out),
                lambda out: workflow.run(short, out),
            ),
            Scenario(
                "rollback", lambda out: rollback(out, 2), lambda out: workflow.run(whole, out)
            ),
            Scenario("revert", take_out, lambda out: workflow.run(whole, out)),
        )
        self.scenarios = {each.name: each for each in scenarios}
        self._unbroken: dict[str, tuple[dict[str, Any], int]] = {}
        self._prepared: dict[str, Path] = {}
        self._trials = 0

    def config(self, **changes: Any) -> RunConfig:
        values = {
            "model": str(self.path / "tiny"),
            "data": str(self.path / "facts.jsonl"),
            "edits_per_turn": 2,
            "evaluate_every": 2,
            "snapshot_every": 3,
            "free_answers": 1,
            "score_newest": 3,
            "options": {"eta": "auto", "passes": 1},
            "modules": ["layers.[0-1].mlp.down_proj"],
            "dtype": "float32",
            "device": "cpu",
        }
        return make_config(values | changes)

    def norm_before(self, turn: int) -> float:
        """A norm that is passed at a turn and not before it."""
        out = self.path / "norms"
        if not out.exists():
            workflow.run(self.config(save_model=False), out)
        journal = Journal.open(out / JOURNAL)
        norms = [max(record["norms"].values()) for record in journal.records(journal.head())]
        journal.close()
        assert norms[turn - 2] < norms[turn - 1]
        return (norms[turn - 2] + norms[turn - 1]) / 2

    def fresh(self, scenario: Scenario) -> Path:
        """A new folder that the scenario can start from."""
        if scenario.name not in self._prepared:
            start = self.path / f"start-{len(self._prepared)}"
            scenario.prepare(start)
            self._prepared[scenario.name] = start
        start = self._prepared[scenario.name]
        self._trials += 1
        out = self.path / f"trial-{self._trials}"
        if start.exists():
            shutil.copytree(start, out)
        return out

    def unbroken(self, scenario: Scenario) -> tuple[dict[str, Any], int]:
        """What comes of a scenario without a fault, and the number of its lines."""
        if scenario.name not in self._unbroken:
            out = self.fresh(scenario)
            lines, ended = attempt(lambda: scenario.do(out), {})
            assert ended is None
            self._unbroken[scenario.name] = (outcome(out), lines.count)
            shutil.rmtree(out)
        return self._unbroken[scenario.name]

    def instructions(self, scenario: Scenario) -> int:
        """Number of the interpreter's instructions in a scenario."""
        out = self.fresh(scenario)
        lines, ended = attempt(lambda: scenario.do(out), {}, finest=True)
        assert ended is None
        shutil.rmtree(out)
        return lines.count


def outcome(out: Path) -> dict[str, Any]:
    """All that two runs must have in common, which is all but the times."""
    journal = Journal.open(out / JOURNAL)
    snapshots = {
        file.path: (file.role, digest(read_snapshot(out / file.path)))
        for file in journal.files()
        if file.turn is not None
    }
    turns = journal.turns(undone=True)
    seen = {
        "config": sorted(json.loads((out / "config.json").read_text())),
        "snapshots": snapshots,
        "state files": sorted(f"state/{path.name}" for path in (out / "state").iterdir()),
        "turns": [(e.number, e.kind, e.undone is None, timeless(e.record)) for e in turns],
        "digests": [journal.digest(number) for number in range(1, journal.head() + 1)],
        "random": [sha(journal.random_state(number)) for number in range(journal.head() + 1)],
        "edits": [(each.row, each.turn, each.edit) for each in journal.standing()],
        "checkpoints": [(c.after_turn, timeless(c.record)) for c in journal.checkpoints()],
        "ended": journal.job().ended is not None,
        "halted": journal.job().halted,
        "records": [
            timeless(json.loads(line)) for line in (out / "records.jsonl").read_text().splitlines()
        ],
        "files": sorted(path.name for path in out.iterdir() if path.name != ".lock"),
    }
    journal.close()
    for name in ("summary.json", "answers.jsonl"):
        if (out / name).exists():
            text = (out / name).read_text()
            seen[name] = timeless(json.loads(text)) if name.endswith(".json") else text
    if (out / "model").exists():
        seen["model"] = {p.name: sha256(p) for p in sorted((out / "model").iterdir())}
    checked = verify(out)
    seen["verify"] = (checked.damages, checked.weights, checked.notes)
    return seen


def timeless(value: Any) -> Any:
    """A record without its times."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in TIMES}
    return value


def sha(content: bytes | None) -> int | None:
    return None if content is None else hash(content)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The place, with what takes time and is not looked at left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda _: None)  # plots take a second
        patch.setattr(os, "fsync", lambda _: None)  # no power is cut here
        configure = schema._configure

        def configure_unsynced(connection: sqlite3.Connection) -> None:
            configure(connection)
            connection.execute("PRAGMA synchronous = OFF")

        patch.setattr(schema, "_configure", configure_unsynced)
        place = Place(tmp_path_factory.mktemp("faults"))

        def load(source: opening.ModelSource) -> Any:
            model = copy.deepcopy(place.tiny.model)
            model.load_state_dict(load_file(Path(source.model) / "model.safetensors"), strict=False)
            return replace(place.tiny, model=model)

        patch.setattr(opening.ModelSource, "load", load)
        gc.freeze()  # every fault is followed by a collection, which need not look at torch
        yield place
        gc.unfreeze()


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are the same in every run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def survive(place: Place, scenario: Scenario, *attempts: Happens, **how: Any) -> int:
    """Let a scenario fail in every attempt, finish it, and compare. Returns how many faults."""
    out = place.fresh(scenario)
    expected, *_ = place.unbroken(scenario)
    fired: list[str] = []
    for happens in attempts:
        random.seed(1)  # where the process stands that goes on is nobody's business
        lines, ended = attempt(lambda: scenario.do(out), happens, **how)
        fired += [*lines.fired, f"-> {ended}"]
        if (out / JOURNAL).exists() and not schema.is_blank(out / JOURNAL):
            assert verify(out).damages == (), fired
        else:
            refuse_taken(out)
    scenario.do(out)
    reached = outcome(out)
    for key in expected:
        assert reached.get(key) == expected[key], (scenario.name, fired, key)
    assert reached.keys() == expected.keys(), (scenario.name, fired)
    shutil.rmtree(out)
    return sum(not each.startswith("->") for each in fired)


LONG = pytest.param("taken back by the guard", marks=pytest.mark.slow)
"""A scenario of many lines."""

SCENARIOS = (
    "run",
    "run, latest snapshot every turn",
    LONG,
    "ended by the guard",
    "addition",
    "rollback",
    "revert",
)
SPARE = 60
"""Lines at the end that are left alone: their number varies a little with the memory's order."""


@pytest.fixture
def play(place, monkeypatch):
    """Give a scenario by its name, and the number of its lines."""

    def choose(name: str) -> tuple[Scenario, int]:
        scenario = place.scenarios[name]
        monkeypatch.setattr(folder, "SOONEST", scenario.soonest)
        return scenario, place.unbroken(scenario)[1] - SPARE

    return choose


def single(place, scenario: Scenario, points: range, **how: Any) -> int:
    """Faults at some lines, one at a time and of one kind after the other."""
    return sum(
        survive(place, scenario, {line: fail(number)}, **how) for number, line in enumerate(points)
    )


def double(place, scenario: Scenario, points: range) -> int:
    """Two faults a time: the second while the first is on its way out, or soon after."""
    return sum(
        survive(
            place, scenario, {line: fail(number), line + 1 + 7 * number % 40: fail(number // 2)}
        )
        for number, line in enumerate(points)
    )


def pressed(place, scenario: Scenario, points: range) -> int:
    """Ctrl-C twice: within a turn, its end, what is settled, or what follows."""
    return sum(
        survive(place, scenario, {line: press_ctrl_c, line + 1 + 37 * number % 400: press_ctrl_c})
        for number, line in enumerate(points)
    )


def again(place, scenario: Scenario, points: range) -> int:
    """A fault, and another one while that is gone on from."""
    return sum(
        survive(place, scenario, {line: fail(number)}, {1 + line * 5 // 8: fail(number + 1)})
        for number, line in enumerate(points)
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_any_line_is_gone_on_from(place, play, name):
    scenario, lines = play(name)
    points = spread(lines, 4, first=1 + 7 * len(name))
    assert single(place, scenario, points) == len(points)


@pytest.mark.parametrize("name", ["run", LONG])
def test_two_ctrl_c_at_any_lines_are_gone_on_from(place, play, name):
    scenario, lines = play(name)
    assert pressed(place, scenario, spread(lines, 5, first=700)) >= 5


@pytest.fixture
def sigterm():
    """What the first process of several does when torchrun ends it, as often as it is sent."""
    usual = signal.getsignal(signal.SIGTERM)

    def send() -> None:
        signal.signal(signal.SIGTERM, joining._end_with_the_others)
        signal.raise_signal(signal.SIGTERM)

    yield send
    signal.signal(signal.SIGTERM, usual)
    here.broken = False


@pytest.mark.parametrize("name", ["run", LONG])
def test_what_torchrun_ends_at_any_line_is_gone_on_from(place, play, name, sigterm):
    scenario, lines = play(name)
    points = spread(lines, 4, first=800)
    assert sum(survive(place, scenario, {line: sigterm}) for line in points) == len(points)


@pytest.mark.parametrize("name", ["run", LONG, "addition", "revert"])
def test_a_fault_on_the_way_out_of_another_is_gone_on_from(place, play, name):
    scenario, lines = play(name)
    assert double(place, scenario, spread(lines, 4, first=500)) >= 4


@pytest.mark.parametrize("name", ["run", LONG])
def test_a_fault_while_a_run_is_resumed_is_gone_on_from(place, play, name):
    scenario, lines = play(name)
    assert again(place, scenario, spread(lines, 3, first=900)) >= 3


def killed(place, scenario: Scenario) -> int:
    """What a process leaves that is killed at any line, gone on from. Returns how many times."""
    expected, *_ = place.unbroken(scenario)
    out = place.fresh(scenario)
    copies = out.with_name(f"{out.name}-images")
    images = Images(out, copies)
    _, ended = attempt(lambda: scenario.do(out), images)
    assert ended is None
    for image in images.copies:
        # Paths are those of the trial: a model folder that is compared has its own.
        shutil.rmtree(out)
        shutil.copytree(image, out)
        scenario.do(out)
        reached = outcome(out)
        for key in expected:
            assert reached.get(key) == expected[key], (scenario.name, image.name, key)
    shutil.rmtree(out)
    shutil.rmtree(copies)
    return len(images.copies)


@pytest.mark.sweep
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_kind_of_fault_all_along(place, play, name):
    """The whole sweep: with all scenarios more than 2,500 faults, none of which loses anything."""
    scenario, lines = play(name)
    instructions = spread(place.instructions(scenario) - 8 * SPARE, 40)
    kinds = {
        "at a line": lambda: single(place, scenario, spread(lines, 160)),
        "killed": lambda: killed(place, scenario),
        "at an instruction": lambda: single(place, scenario, instructions, finest=True),
        "on the way out of another": lambda: double(place, scenario, spread(lines, 30, first=11)),
        "two Ctrl-C": lambda: pressed(place, scenario, spread(lines, 30, first=17)),
        "while it is resumed": lambda: again(place, scenario, spread(lines, 15, first=23)),
    }
    faults = 0
    for kind, sweep in kinds.items():
        done = sweep()
        faults += done
        print(f"{name}: {done} faults {kind}", flush=True)
    assert faults >= 350

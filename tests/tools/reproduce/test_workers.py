"""Several workers at a plan: all of it is done, whichever of them is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import NullObserver, Observer
from ultraedit.tools.reproduce import carry_out
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.workers import FOLDER, Workers, carry_out_together, read_workers

pytest.importorskip("submitit")

METHODS = ("ultraedit", "frozen", "inner", "norm-50")


@dataclass(frozen=True)
class Piece:
    """A piece of work whose first attempts kill their own process."""

    place: str
    deaths: int = 0
    needs: tuple = ()

    def status(self, out: Path):
        return "done" if (out / self.place).is_file() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        observer.stage("Working", 3)
        tries = out / f"{self.place}.tries"
        before = int(tries.read_text()) if tries.is_file() else 0
        tries.write_text(str(before + 1))
        if before < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        (out / self.place).write_text("made")


class Killer(threading.Thread):
    """Kills a worker now and then: the process itself, as the kernel does without memory."""

    def __init__(self, folder: Path, most: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.most, self.ended = folder, most, False
        self.killed: list[str] = []
        self.draws = random.Random(3)

    def run(self) -> None:
        while not self.ended and len(self.killed) < self.most:
            time.sleep(self.draws.uniform(0.1, 0.5))
            at_work = []
            for path in self.folder.glob(f"{FOLDER}/*.json"):
                with suppress(OSError, ValueError):
                    at = json.loads(path.read_text())
                    if path.name not in self.killed:
                        at_work.append((path.name, at["process"]))
            if at_work:
                name, process = self.draws.choice(at_work)
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    self.killed.append(name)


def summary(out, run):
    found = json.loads((out / run.place / "summary.json").read_text())
    return {name: found[name] for name in ("edits", "turns", "before", "after")}


@pytest.mark.slow
def test_workers_that_are_killed_at_random_change_no_number(environment, tiny, tmp_path):
    whole, killed = (environment(out=tmp_path / out, model=tiny) for out in ("whole", "killed"))
    runs = [whole.run(Wanted("gpt-j", method, "zsre")) for method in METHODS]
    carry_out(runs, whole.out, NullObserver(), isolated=False)
    killer = Killer(killed.out, most=2)
    killer.start()
    outcome = carry_out_together(runs, killed.out, Workers(2))
    killer.ended = True
    killer.join()
    assert killer.killed
    assert outcome.failed == {}
    assert sorted(outcome.made) == sorted(run.place for run in runs)
    for run in runs:
        assert summary(killed.out, run) == summary(whole.out, run)


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_own_piece_only_and_that_is_gone_on_with(tmp_path, caplog):
    caplog.set_level("INFO", "ultraedit")
    first = Piece("first", deaths=1)
    lost = Piece("lost", deaths=9)
    behind, after = Piece("behind", needs=(lost,)), Piece("after", needs=(first,))
    outcome = carry_out_together([after, behind, Piece("other")], tmp_path, Workers(2))
    assert sorted(outcome.made) == ["after", "first", "other"]
    assert outcome.failed.keys() == {"lost", "behind"}
    assert "3 workers have died" in outcome.failed["lost"]
    assert outcome.failed["behind"] == "lost, which it needs, is not there"
    assert (tmp_path / "first.tries").read_text() == "2"
    assert (tmp_path / "lost.tries").read_text() == "3"
    assert "first lost its worker and goes on, attempt 2 of 3" in caplog.messages
    assert "other Working: 3" in caplog.messages or "other is done" in caplog.messages
    again = carry_out_together([after, Piece("other")], tmp_path, Workers(2))
    assert (again.made, sorted(again.done_before)) == ([], ["after", "first", "other"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "--workers must be at least 1, got 0"),
        ("many", "must be a number, or slurm: and a number such as slurm:8, got 'many'"),
        ("ray:3", "--workers knows no place 'ray'. Write N for this machine, or slurm:N"),
    ],
)
def test_words_that_name_no_workers_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read_workers(text)


def test_slurm_is_refused_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_workers("slurm:8") == Workers(8, "slurm")
    with pytest.raises(ConfigError, match=r"needs Slurm's command srun.*Write N alone"):
        read_workers("slurm:8").executor(tmp_path)

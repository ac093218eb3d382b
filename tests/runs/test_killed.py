"""Killed at any moment, and again while it resumes, a run ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import tiny_model
from ultraedit.models import save
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.runs.verify import verify

KILLED = -9
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


class Jobs:
    """Jobs done one after the other, each in a process that may be killed."""

    def __init__(self, place: Path) -> None:
        save(tiny_model(layers=2), place / "tiny")
        facts = [
            {"prompt": f"Who leads town {n}?", "target": name, "id": str(n)}
            for n, name in enumerate(["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gil", "Hal", "Ida"])
        ]
        (place / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
        self.place = place
        self.config = {
            "model": str(place / "tiny"),
            "data": str(place / "facts.jsonl"),
            "edits_per_turn": 2,
            "evaluate_every": 2,
            "snapshot_every": 3,
            "free_answers": 1,
            "options": {"eta": "auto", "passes": 1},
            "modules": ["layers.[0-1].mlp.down_proj"],
            "dtype": "float32",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.runs.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, out: str, **how) -> int:
        """Begin a run in a folder, or go on with it. Returns how the process ended."""
        job = {
            "out": str(self.place / out),
            "config": self.config,
            "moments": str(self.place / "moments"),
            "plots": False,
        }
        self.process.stdin.write(f"{json.dumps(job | how)}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["status"]

    def outcome(self, out: str) -> dict[str, str]:
        """Hashes of the model and of the last snapshot, and what each turn is said to have done."""
        folder = self.place / out
        paths = [*(folder / "model").iterdir(), folder / "state" / "turn-000005.safetensors"]
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        journal = Journal.open(folder / JOURNAL)
        hashes["norms"] = str([entry.record["norms"] for entry in journal.turns()])
        scores = [[c.record["scores"], c.record["newest"]] for c in journal.checkpoints()]
        hashes["scores"] = str(scores)
        hashes["edits"] = str([each.edit for each in journal.standing()])
        journal.close()
        return hashes


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    with jobs.process:  # closes its pipes, and waits
        yield jobs


def test_a_run_that_is_killed_twice_ends_with_the_same_bits(jobs):
    assert jobs.do("whole") == 0
    whole = jobs.outcome("whole")
    moments = int((jobs.place / "moments").read_text())
    assert moments > 50
    draw = random.Random(7)
    step = moments // 8
    for number, fatal in enumerate(range(draw.randrange(1, step), moments, step)):
        out = f"broken-{number}"
        assert jobs.do(out, fatal=fatal) == KILLED
        # A resumed process passes fewer moments; it may come to its end before it is killed.
        again = jobs.do(out, fatal=draw.randrange(2, max(3, (moments - fatal) * 2 // 3)))
        assert again in (0, KILLED)
        assert jobs.do(out) == 0
        assert jobs.outcome(out) == whole, f"killed at moment {fatal} of {moments}"
        assert verify(jobs.place / out).is_whole


def test_a_run_that_is_killed_at_random_times_ends_with_the_same_bits(jobs):
    if not (jobs.place / "whole").exists():
        assert jobs.do("whole") == 0
    whole = jobs.outcome("whole")
    draw = random.Random(11)
    kills = 0
    while kills < 10:
        out = f"timed-{kills}"
        for _ in range(3):
            kills += jobs.do(out, after=draw.uniform(0.05, 1.5)) == KILLED
        assert jobs.do(out) == 0
        assert jobs.outcome(out) == whole


def test_a_streamed_run_that_is_killed_twice_ends_with_the_same_bits(jobs):
    config = jobs.config | {"score_sample": 4, "score_newest": 3}
    assert jobs.do("streamed", config=config) == 0
    whole = jobs.outcome("streamed")
    moments = int((jobs.place / "moments").read_text())
    draw = random.Random(13)
    step = moments // 4
    for number, fatal in enumerate(range(draw.randrange(1, step), moments, step)):
        out = f"streamed-{number}"
        assert jobs.do(out, config=config, fatal=fatal) == KILLED
        again = draw.randrange(2, max(3, (moments - fatal) * 2 // 3))
        assert jobs.do(out, config=config, fatal=again) in (0, KILLED)
        assert jobs.do(out, config=config) == 0
        assert jobs.outcome(out) == whole, f"killed at moment {fatal} of {moments}"
        assert verify(jobs.place / out).is_whole

"""Two processes edit as one does, end together, and say things once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import FACTS
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.host import distributed
from ultraedit.models import save
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.runs.workflow import resume

ROOT = Path(__file__).parents[3]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
MODULES = "layers.[2-3].mlp.down_proj"


def environment(**more: str) -> dict[str, str]:
    """One thread each, and no settings from outside."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ULTRAEDIT_")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | more


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("distributed") / "found.json"
    port = ("--master-port", free_port())
    command = (*TORCHRUN, *port, "-m", "tests.host.distributed.job", str(out))
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ultraedit", "anchored", "ft-m", "memit", "malmen", "prune", "wise", "in-context"]
)
def test_two_processes_edit_as_one_does_and_hold_the_same_weights(found, name):
    editor = found["editors"][name]
    assert found["size"] == 2
    assert editor["hashes"][0] == editor["hashes"][1]
    assert (editor["size"] > 1) == (name != "in-context")
    # The inverse of an anchored layer's moments amplifies the rounding of sums in another order.
    assert editor["apart"] < (1e-3 if name == "anchored" else 1e-5)
    for kind in ("predicted", "answers"):
        ours, alone = editor[kind]
        assert ours == alone


def test_rows_of_a_turn_come_back_in_the_order_of_one_process(found):
    assert found["signals"].keys() >= {"answer segments", "all keys", "all supervised"}
    for name, apart in found["signals"].items():
        assert apart < (1e-5 if name.endswith(("keys", "grads")) else 1e-9), name


def test_every_process_keeps_what_lies_below_its_own_questions(found):
    assert found["trunk"]["same"] == [True, True]
    assert sum(found["trunk"]["reused"]) == 17
    assert min(found["trunk"]["reused"]) > 0


def test_two_processes_probe_as_one_does(found):
    alone, both = found["probes"]
    assert alone == both
    assert {"few-shot efficacy", "reverse", "affirmed", "negated"} <= alone[0]["probes"].keys()
    assert len(both[1]) == 30


def test_an_error_in_another_process_is_raised_in_the_first_and_the_job_goes_on(found):
    failures = found["failures"]
    assert failures["user"] == "ConfigError: This cannot be."
    assert "Process 1 failed" in failures["fault"]
    assert "ValueError: a fault" in failures["fault"]
    assert failures["own"] == "'ours'"
    assert failures["later"] == 1


def test_a_bad_setting_is_said_once_and_ends_everybody(tmp_path):
    torchrun = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    command = [sys.executable, "-m", "ultraedit", "run", "--model", "m", "--data", "none.jsonl"]
    both = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(RANK=str(rank), **torchrun),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    (_, error), (out, silence) = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [2, 0]
    assert error.splitlines()[-1].startswith("Error: No such file: none.jsonl.")
    assert (out, silence) == ("", "")


@pytest.fixture
def place(tmp_path):
    save(tiny_model("llama", layers=4), tmp_path / "tiny")
    text = "".join(f"{json.dumps(fact)}\n" for fact in FACTS * 5)
    (tmp_path / "facts.jsonl").write_text(text)
    return tmp_path


@pytest.mark.slow
def test_a_run_that_loses_a_process_says_so_and_is_finished_by_one(place):
    """Edits one by one, each followed by an evaluation, until the second process is killed."""
    command = [*TORCHRUN, "--master-port", free_port(), "-m", "ultraedit", "run"]
    command += ["--model", "tiny", "--data", "facts.jsonl", "--modules", MODULES, "--eta", "auto"]
    command += ["--edits-per-turn", "1", "--evaluate-every", "1", "--free-answers", "1"]
    command += ["--dtype", "float32", "--device", "cpu", "--no-save-model", "--out", "run"]
    environ = environment()
    process = subprocess.Popen(command, cwd=place, env=environ, stderr=subprocess.PIPE, text=True)
    records = place / "run" / "records.jsonl"
    while process.poll() is None and not (
        records.is_file() and records.read_text().count("\n") > 5
    ):
        time.sleep(0.02)
    os.kill(child_of_rank("1", process.pid), signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "ultraedit run --resume run" in error
    assert error.count("Error: A process of this job has ended") == 1
    with_journal = Journal.open(place / "run" / JOURNAL)
    made = with_journal.head()
    with_journal.close()
    assert 0 < made < 25
    done = resume(place / "run")
    assert done.summary["turns"] == 25
    assert done.result.progress.edits == 25


def child_of_rank(rank: str, parent: int) -> int:
    """The process that torchrun has started under a rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.joinpath("stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                given = folder.joinpath("environ").read_bytes().split(b"\0")
                if f"RANK={rank}".encode() in given:
                    return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"no process of rank {rank}")


def test_one_process_is_alone():
    assert (distributed.rank(), distributed.size(), distributed.is_first()) == (0, 1, True)
    with distributed.joined():
        assert distributed.size() == 1
    distributed.require_device("cuda:7")


def test_what_is_dealt_out_is_gathered_in_its_order():
    shares = distributed.split([4, 2, 0, 3, 1], 3)
    assert shares == [[4, 3], [2, 1], [0]]
    assert distributed.in_order([[f"r{i}" for i in share] for share in shares], shares) == [
        f"r{i}" for i in range(5)
    ]


def test_devices_that_processes_cannot_share_are_refused(monkeypatch):
    from ultraedit.host.distributed.processes import here

    monkeypatch.setattr(here, "size", 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    distributed.require_device("cpu")
    with pytest.raises(ConfigError, match="--device cuda:0 is no choice for 2 processes"):
        distributed.require_device("cuda:0")
    with pytest.raises(ConfigError, match="2 processes were started here and there are 1 GPUs"):
        distributed.require_device("cuda")

"""A server of a tiny model that is killed at random instants, and one that is ended in order."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import httpx
import pytest
from benchmarks.serve import Server, kill

from tests.serve.conftest import SETTINGS
from tests.serve.test_edits import FACT
from ultraedit.runs.verify import verify
from ultraedit.serve.opening import make_run


@pytest.mark.slow
def test_a_server_that_is_killed_loses_no_acknowledged_fact(run):
    random.seed(0)
    found = kill(Server(run, "tiny", ("--guard", "none")), kills=8, longest=6)
    assert found["acknowledged"] > 8, "too few to show anything"
    assert found["lost"] == []
    assert found["half_turns"] == 0
    assert found["whole"] == 8
    assert found["on_the_disk"] >= found["acknowledged"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_says_so_and_leaves_its_run_whole(tiny, tmp_path, how):
    path = tmp_path / "run"
    make_run(str(tiny), path, SETTINGS)
    command = [sys.executable, "-m", "ultraedit", "serve", str(path), "--port", "0"]
    command += ["--guard", "norm=1e9"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = next(line for line in process.stderr if "http://" in line)
    url = line.split(" answers at ")[1].split("/ ")[0]
    while httpx.get(f"{url}/v1/health").json()["status"] != "ready":
        time.sleep(0.1)
    written = httpx.post(f"{url}/v1/edits", json={"edits": [FACT]}, timeout=60)
    assert written.status_code == 200
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Everything that was asked for is done." in said
    assert "Traceback" not in said
    assert verify(path).is_whole

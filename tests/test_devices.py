"""Models on other devices, on a machine that has none: see docs/design/011-devices.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ultraedit.core.types import Carried
from ultraedit.editors import EDITORS
from ultraedit.lifelong import loop
from ultraedit.runs.store import snapshots
from ultraedit.runs.store.snapshots import read_snapshot, write_snapshot

ROOT = Path(__file__).parent.parent

QUICK = tuple(f"{name} one-card" for name in ("ultraedit", "anchored", "memit", "wise"))
"""Editors that work in ways of their own: the others share much of their code."""

SLOW = ("one-card", "two-devices", "bfloat16", "elsewhere")


def on_cards(*parts: str) -> dict[str, str | None]:
    """The faults of some checks, in a process of its own: a backend of torch is renamed."""
    pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch cannot pretend a device with gradients")
    command = [sys.executable, "-m", "tests.devices.on_card", *parts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    faults: dict[str, str | None] = json.loads(done.stdout)
    return faults


def test_editors_work_on_a_card_and_write_what_they_write_on_the_cpu():
    faults = on_cards(*QUICK)
    assert faults == dict.fromkeys(QUICK)


@pytest.mark.slow
def test_what_watches_editors_works_on_a_card_too():
    faults = on_cards("trunk", "monitors", "doctor", "refusals")
    assert faults.keys() >= {"doctor", "refusals", "trunk spread"}
    assert {name: fault for name, fault in faults.items() if fault} == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", SLOW)
def test_every_editor_works_on_one_and_two_devices_in_bfloat16_and_after_a_move(part):
    faults = on_cards(part)
    assert faults.keys() == {f"{name} {part}" for name in EDITORS}
    assert {name: fault for name, fault in faults.items() if fault} == {}


@pytest.fixture
def gpus(monkeypatch):
    """Three GPUs, of which the second and third are at work."""
    peaks, waited = {0: 0, 1: 300, 2: 50}, []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=0: peaks[device])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=0: waited.append(device))
    return waited


def test_memory_and_time_are_those_of_the_gpus_at_work_not_of_the_first(gpus):
    assert loop.peak_memory() == 350
    loop.synchronize()
    assert gpus == [1, 2]


def test_a_snapshot_of_a_card_that_is_not_here_is_read_to_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    path = tmp_path / "turn.safetensors"
    saved = snapshots.save_file
    for name in ("cuda:2", "cuda:7", "mps"):
        told = {"devices": json.dumps({"change/w": name})}
        monkeypatch.setattr(
            snapshots, "save_file", lambda each, to, told=told, **_: saved(each, to, metadata=told)
        )
        write_snapshot(path, Carried({"w": torch.ones(2)}, {}))
        assert read_snapshot(path).changes["w"].device.type == "cpu"

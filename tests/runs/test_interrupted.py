"""What is on the disk belongs to the turn that it is said to be of, wherever a run was stopped."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sqlite3

import pytest
import torch
from safetensors.torch import load_file

from tests.runs.conftest import write_facts
from tests.runs.store.test_folder import full_at
from ultraedit import models
from ultraedit.core.errors import StorageError
from ultraedit.core.files import sha256
from ultraedit.core.types import Carried
from ultraedit.runs import workflow
from ultraedit.runs.revert import revert
from ultraedit.runs.rollback import rollback
from ultraedit.runs.store import (
    JOURNAL,
    SEAL,
    Journal,
    RunFolder,
    digest,
    read_snapshot,
    seal_of,
    snapshots,
)
from ultraedit.runs.store.schema import transaction
from ultraedit.runs.verify import verify


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A shell starts what runs in the background with SIGINT ignored, and its tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def at_turn(number, error, monkeypatch):
    """Fail once, where a turn is applied and not recorded."""
    add_turn = Journal.add_turn

    def failing(self, change, snapshot=None, *, job):
        if change.record.turn == number:
            monkeypatch.setattr(Journal, "add_turn", add_turn)
            raise error
        return add_turn(self, change, snapshot, job=job)

    monkeypatch.setattr(Journal, "add_turn", failing)


def swap(folder, turn, other):
    """Put the snapshot of another turn in the place of a turn's, as if it had been written so."""
    path, theirs = (folder / "state" / f"turn-{n:06d}.safetensors" for n in (turn, other))
    shutil.copy(theirs, path)
    database = sqlite3.connect(folder / JOURNAL)
    database.execute(
        "UPDATE files SET sha256 = ?, bytes = ? WHERE path = ?",
        (sha256(path), path.stat().st_size, f"state/{path.name}"),
    )
    database.commit()
    database.close()
    (folder / SEAL).write_bytes(seal_of(folder / JOURNAL))


# Snapshots


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("the disk is full")])
@pytest.mark.parametrize("every", [3, 100])
def test_a_turn_that_is_applied_but_not_recorded_is_in_no_snapshot(
    run, tmp_path, monkeypatch, error, every
):
    at_turn(5, error, monkeypatch)
    with pytest.raises(type(error)):
        run("broken", snapshot_every=every)
    folder, whole = tmp_path / "broken", run("whole", snapshot_every=1)
    for path in (folder / "state").glob("turn-*"):
        left, expected = read_snapshot(path), read_snapshot(whole / "state" / path.name)
        assert digest(left) == digest(expected)
    assert workflow.resume(folder).summary["turns"] == 6
    assert same(weights(folder), weights(whole))
    assert verify(folder).is_whole


def test_what_is_not_that_of_the_last_turn_is_not_settled(run):
    held = RunFolder.open(run(snapshot_every=100))
    carried = read_snapshot(held.path / "state" / "turn-000006.safetensors")
    (held.path / "state" / "turn-000006.safetensors").unlink()
    held.journal.drop_file("state/turn-000006.safetensors")
    more = {path: change + 1e-6 for path, change in carried.changes.items()}
    held.settle(Carried(more, carried.state))
    assert held.journal.snapshot_of(6) is None
    held.settle(carried)
    assert held.journal.snapshot_of(6) is not None
    held.close()


def test_a_snapshot_of_another_turn_is_named_and_passed_over(run, caplog):
    folder, second = run(snapshot_every=2), run("second", turns=2)
    swap(folder, 2, 4)
    (damage,) = verify(folder).damages
    assert damage == ("state/turn-000002.safetensors", "it does not hold what turn 2 left")
    with caplog.at_level(logging.WARNING, "ultraedit"):
        rollback(folder, 2)
    assert "turn-000002.safetensors is not that of its turn: it does not hold" in caplog.text
    assert same(weights(folder), weights(second))
    assert verify(folder).is_whole  # the snapshot was written anew


def test_a_revert_whose_snapshot_is_another_is_not_computed_again(run):
    folder = run(snapshot_every=3)
    revert(folder, ["3"])
    swap(folder, 7, 3)
    with pytest.raises(StorageError, match=r"Turn 7 took edits out and .*--to-turn 6`"):
        rollback(folder, 7)
    assert rollback(folder, 6).turn == 6
    assert verify(folder).is_whole


def test_the_digest_is_of_the_values_and_not_of_their_layout():
    weight = torch.randn(24, 10)
    state = {"n": torch.tensor(3), "seen": torch.zeros(0), "is": torch.tensor([True, False])}
    carried = Carried({"a": weight}, state)
    turned = Carried({"a": weight.T.contiguous().T}, dict(reversed(state.items())))
    assert digest(turned) == digest(carried)
    for place in ((0, 0), (23, 9)):
        other = weight.clone()
        other[place] = torch.nextafter(other[place], torch.tensor(9.0))
        assert digest(Carried({"a": other}, state)) != digest(carried)
    moved = weight.flip(0)
    assert digest(Carried({"a": moved}, state)) != digest(carried)
    assert digest(Carried({"b": weight}, state)) != digest(carried)
    assert digest(Carried({}, {"a": weight} | state)) != digest(carried)


def test_one_ctrl_c_ends_the_run_after_the_turn_and_nothing_is_computed_again(
    run, tmp_path, monkeypatch
):
    add_turn = Journal.add_turn

    def pressing(self, change, snapshot=None, *, job):
        if change.record.turn == 4:
            signal.raise_signal(signal.SIGINT)
        return add_turn(self, change, snapshot, job=job)

    monkeypatch.setattr(Journal, "add_turn", pressing)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    monkeypatch.setattr(Journal, "add_turn", add_turn)
    folder = tmp_path / "stopped"
    journal = Journal.open(folder / JOURNAL)
    assert (journal.head(), journal.snapshot_of(4).role) == (4, "latest")
    journal.close()
    workflow.resume(folder)
    assert same(weights(folder), weights(run("whole")))


def test_a_second_ctrl_c_while_the_last_turn_is_kept_loses_nothing(run, tmp_path, monkeypatch):
    add_turn, write = Journal.add_turn, snapshots.write_snapshot
    written = []

    def pressing(self, change, snapshot=None, *, job):
        if change.record.turn == 4:
            signal.raise_signal(signal.SIGINT)
        return add_turn(self, change, snapshot, job=job)

    def pressing_again(path, carried):
        write(path, carried)
        written.append(path.name)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "add_turn", pressing)
    monkeypatch.setattr(snapshots, "write_snapshot", pressing_again)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    assert written == ["turn-000004.safetensors"]
    monkeypatch.setattr(Journal, "add_turn", add_turn)
    monkeypatch.setattr(snapshots, "write_snapshot", write)
    folder = tmp_path / "stopped"
    journal = Journal.open(folder / JOURNAL)
    assert (journal.head(), journal.snapshot_of(4)) == (4, None)
    journal.close()
    workflow.resume(folder)
    assert same(weights(folder), weights(run("whole")))
    assert verify(folder).is_whole


@pytest.mark.parametrize("part", ["restore", "rollback"])
def test_a_turn_that_cannot_be_taken_back_is_taken_back_by_resume(run, tmp_path, monkeypatch, part):
    norms = [max(e.record["norms"].values()) for e in Journal.open(run() / JOURNAL).turns()]
    values = {
        "guard": {"norm": (norms[3] + norms[4]) / 2},
        "guard_action": "back",
        "evaluate_every": 1,
    }
    whole = run("whole", **values)
    owner, calls = (workflow, []) if part == "restore" else (RunFolder, [])
    call = getattr(owner, part)

    def failing(*arguments, **options):
        calls.append(part)
        if part == "rollback" or len(calls) == 2:  # the first one begins the run
            raise StorageError("the disk is full")
        return call(*arguments, **options)

    monkeypatch.setattr(owner, part, failing)
    with pytest.raises(StorageError, match="the disk is full"):
        run("broken", **values)
    monkeypatch.setattr(owner, part, call)
    folder = tmp_path / "broken"
    journal = Journal.open(folder / JOURNAL)
    assert (journal.head(), journal.snapshot_of(5), journal.job().halted) == (5, None, None)
    journal.close()
    done = workflow.resume(folder)
    assert done.summary["remarks"]["guard"].startswith("turn 5 was taken back")
    assert same(weights(folder), weights(whole))
    assert verify(folder).is_whole


# The disk


def test_a_disk_that_fills_up_at_any_size_loses_no_recorded_turn(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow.report, "write", lambda _: None)
    whole = workflow.run(settings(snapshot_every=2), tmp_path / "whole").folder
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    ended = set()
    for number, size in enumerate(range(60_000, largest, largest // 6)):
        folder = tmp_path / f"full-{number}"
        with full_at(size), pytest.raises(StorageError, match=r"^Cannot (write|use)"):
            workflow.run(settings(snapshot_every=2), folder)
        if folder.exists():
            journal = Journal.open(folder / JOURNAL)
            ended.add(journal.head())
            journal.close()
            assert verify(folder).damages == ()
            assert workflow.resume(folder) is not None
            assert same(weights(folder), weights(whole))
            assert verify(folder).is_whole
    assert len(ended) > 1  # within the turns, and behind them


def test_an_interrupted_transaction_leaves_nothing_open(run):
    journal = Journal.open(run() / JOURNAL, write=True)
    with pytest.raises(KeyboardInterrupt), transaction(journal._db, journal.path):
        journal._set("mood", "good")
        raise KeyboardInterrupt
    assert not journal._db.in_transaction
    assert journal.value("mood") is None
    journal.close()


# What is left to do


def test_a_run_that_was_killed_before_its_config_was_written_gets_it(run, tmp_path, monkeypatch):
    at_turn(2, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run("broken")
    config = tmp_path / "broken" / "config.json"
    before = json.loads(config.read_text())
    config.unlink()
    workflow.resume(tmp_path / "broken")
    assert json.loads(config.read_text()) == before


def test_a_resumed_run_says_the_same_of_its_model_and_its_facts(run, place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    named = {"model": "tiny", "data": "facts.jsonl", "modules": ["layers.[0-1].mlp.down_proj"]}
    whole = json.loads((run("whole", **named) / "summary.json").read_text())
    at_turn(3, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run("broken", **named)
    summary = workflow.resume(tmp_path / "broken").summary
    assert [summary[name] for name in ("model", "data", "after")] == [
        whole[name] for name in ("model", "data", "after")
    ]
    assert (summary["model"], summary["data"]) == ("tiny", "facts.jsonl")


def test_an_addition_that_is_given_up_leaves_no_trace(run, tmp_path, monkeypatch):
    folder = run()
    before = {
        p: p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix not in (".sqlite", ".sha256") and p.is_file()
    }
    facts = write_facts(tmp_path / "more.jsonl", [0, 1])
    at_turn(7, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        workflow.append(folder, {"data": str(facts)})
    after = {
        p: p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix not in (".sqlite", ".sha256") and p.is_file()
    }
    assert after == before
    found = verify(folder)
    assert (found.damages, found.notes) == ((), ())


def test_a_revert_that_is_stopped_while_it_is_scored_is_finished_by_resume(
    run, tmp_path, monkeypatch
):
    folder, whole = run(), run("whole")
    expected = revert(whole, ["3"])
    drop = RunFolder.drop_results

    def failing(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "drop_results", failing)
    with pytest.raises(KeyboardInterrupt):
        revert(folder, ["3"])
    monkeypatch.setattr(RunFolder, "drop_results", drop)
    assert verify(folder).damages == ()
    done = workflow.resume(folder)
    assert done.summary["after"]["efficacy"] == expected.remaining.after.efficacy
    assert same(weights(folder), weights(whole))
    assert verify(folder).is_whole
    assert workflow.resume(folder) is None


def test_a_rollback_that_is_stopped_before_its_model_is_saved_is_done_again(run, monkeypatch):
    folder, short = run(), run("short", turns=2)
    save = models.save

    def failing(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "save", failing)
    with pytest.raises(KeyboardInterrupt):
        rollback(folder, 2)
    monkeypatch.setattr(models, "save", save)
    found = verify(folder)
    assert found.damages == ()
    assert "--to-turn 2` saves it anew" in found.weights
    rollback(folder, 2)
    assert same(weights(folder), weights(short))
    assert verify(folder).is_whole

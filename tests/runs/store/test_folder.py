"""The run folder: its records are whole lines whatever happens, and it takes only itself away."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager

import pytest
import torch

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import Carried, CheckpointRecord, Edit, Question, Scores, Turn, TurnRecord
from ultraedit.runs.store import JOURNAL, RunFolder, folder

SETTINGS = {"data_sha256": "0", "snapshot_every": 2}
EDIT = Edit(
    "Who leads Ä-town?",
    "Ada",
    rephrases=("And Ä-town?",),
    locality=(Question("Which river?", None),),
    probes={"personas": (Question("As a clerk: who?", "Ada"),)},
    aliases=("Ada L.",),
    id="7",
)


def create(path):
    return RunFolder.create(path, {"random": ""}, SETTINGS)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def finish(held, number, size=4):
    """Record a turn of one edit that has changed one weight. Returns what it carries on."""
    record = TurnRecord(
        turn=number,
        edits=1,
        total_edits=number,
        seconds=1.0,
        memory_bytes=1,
        norms={"ä": 0.5},
    )
    carried = Carried({"ä": torch.full((size, size), float(number))}, {"n": torch.tensor(number)})
    held.turn(record, Turn(number, (EDIT,)), carried)
    return carried


@contextmanager
def full_at(size):
    """Let no file grow beyond so many bytes, as a full disk would.

    Not a fixture: the limit must be gone before pytest writes the outcome to its own log.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_records_are_appended_line_by_line(tmp_path):
    held = create(tmp_path / "run")
    assert not held.begun
    held.checkpoint(
        CheckpointRecord(turn=0, edits=2, overruled=1, seconds=0.5, scores=Scores(efficacy=0.25))
    )
    assert held.begun
    finish(held, 1)
    first, second = lines(tmp_path / "run" / "records.jsonl")
    assert (first["kind"], first["scores"]["efficacy"], first["overruled"]) == (
        *("checkpoint", 0.25, 1),
    )
    assert (second["kind"], second["norms"]) == ("turn", {"ä": 0.5})
    held.write_records()
    assert lines(tmp_path / "run" / "records.jsonl") == [first, second]
    held.close()


def test_an_edit_comes_back_from_the_journal_as_it_was(tmp_path):
    held = create(tmp_path / "run")
    finish(held, 1)
    (stored,) = held.journal.turn_edits(1)
    assert stored.edit == EDIT
    assert [each.row for each in held.journal.find("ä-TOWN")] == [stored.row]
    assert list(held.journal.find("nobody")) == []
    held.close()


def test_a_disk_that_fills_up_within_a_record_leaves_whole_lines(tmp_path):
    held = create(tmp_path / "run")
    path = tmp_path / "run" / "records.jsonl"
    finish(held, 1)
    before = path.read_bytes()
    message = r"Cannot write .*records\.jsonl: File too large"
    with full_at(len(before) + 10), pytest.raises(StorageError, match=message):
        held._append({"kind": "turn", "turn": 2})
    assert path.read_bytes() == before
    held.close()


def test_a_disk_that_fills_up_within_a_snapshot_leaves_the_turn_before(tmp_path):
    held = create(tmp_path / "run")
    finish(held, 1, size=300)
    journal = (tmp_path / "run" / f"{JOURNAL}-wal").stat().st_size
    with full_at(max(journal + 1000, 200_000)), pytest.raises(StorageError, match="Cannot write"):
        finish(held, 2, size=300)
    assert held.journal.head() == 1
    assert [path.name for path in (tmp_path / "run" / "state").iterdir()] == []
    held.close()


def test_snapshots_are_kept_every_so_many_turns_and_the_latest_beside_them(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SOONEST", 0.0)
    monkeypatch.setattr(folder, "SHARE", 0)
    held = create(tmp_path / "run")
    names = []
    for number in range(1, 6):
        finish(held, number)
        names.append(sorted(path.name[8:11] for path in (tmp_path / "run" / "state").iterdir()))
    assert names == [["001"], ["002"], ["002", "003"], ["002", "004"], ["002", "004", "005"]]
    held.close()


def test_without_a_reason_to_hurry_only_the_end_is_kept(tmp_path):
    held = create(tmp_path / "run")
    carried = finish(held, 1)
    assert not (tmp_path / "run" / "state").exists()
    held.settle(carried)
    assert [path.name for path in (tmp_path / "run" / "state").iterdir()] == [
        "turn-000001.safetensors"
    ]
    held.close()


def test_leftovers_of_a_killed_process_are_swept_when_the_folder_is_opened(tmp_path):
    held = create(tmp_path / "run")
    finish(held, 1)
    finish(held, 2)
    held.close()
    (tmp_path / "run" / "state" / "turn-000003.safetensors").write_bytes(b"half")
    (tmp_path / "run" / ".model.0a1b.partial").mkdir()
    (tmp_path / "run" / ".model.0a1b.old").mkdir()
    (tmp_path / "run" / "records.jsonl").write_text('{"kind": "tu')
    again = RunFolder.open(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "state").iterdir()] == [
        "turn-000002.safetensors"
    ]
    assert (tmp_path / "run" / "model").is_dir()  # moved away, and the new one never came
    assert [row["turn"] for row in lines(tmp_path / "run" / "records.jsonl")] == [1, 2]
    again.close()


def test_a_beginning_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path):
    with full_at(10), pytest.raises(StorageError):
        create(tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_run_is_not_discarded(tmp_path):
    one, two = create(tmp_path / "runs" / "one"), create(tmp_path / "runs" / "two")
    one.discard()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"]
    two.close()
    with pytest.raises(ConfigError, match="already holds a run"):
        create(tmp_path / "runs" / "two")


def test_what_a_process_left_that_was_killed_before_it_began_is_no_run(tmp_path):
    from ultraedit.runs.store import schema

    (tmp_path / "run").mkdir()
    schema.create(tmp_path / "run" / JOURNAL).close()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / "..holder.json.0123456789ab.partial").touch()
    with pytest.raises(ConfigError, match=r"No run was begun in .*Begin one with"):
        RunFolder.open(tmp_path / "run")
    create(tmp_path / "run").close()
    assert not list((tmp_path / "run").glob("*.partial"))

"""The run folder: its records are whole lines whatever happens, and it takes only itself away."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager

import pytest

from ultraedit.errors import StorageError
from ultraedit.store import RunFolder
from ultraedit.types import CheckpointRecord, Scores, TurnRecord


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def turn(number, norm=0.5):
    return TurnRecord(
        turn=number,
        edits=2,
        total_edits=2 * number,
        seconds=1.0,
        memory_bytes=1,
        norms={"ä": norm},
    )


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
    folder = RunFolder(tmp_path / "run")
    assert not folder.begun
    folder.checkpoint(
        CheckpointRecord(turn=0, edits=2, overruled=1, seconds=0.5, scores=Scores(efficacy=0.25))
    )
    assert folder.begun
    folder.turn(turn(1))
    first, second = lines(tmp_path / "run" / "records.jsonl")
    assert (first["kind"], first["scores"]["efficacy"], first["overruled"]) == (
        *("checkpoint", 0.25, 1),
    )
    assert (second["kind"], second["norms"]) == ("turn", {"ä": 0.5})


def test_a_disk_that_fills_up_within_a_record_leaves_whole_lines(tmp_path):
    folder = RunFolder(tmp_path / "run")
    path = tmp_path / "run" / "records.jsonl"
    folder.turn(turn(1))
    before = path.read_bytes()
    message = r"Cannot write .*records\.jsonl: File too large"
    with full_at(len(before) + 10), pytest.raises(StorageError, match=message):
        folder.turn(turn(2))
    assert path.read_bytes() == before
    folder.turn(turn(3))
    assert [record["turn"] for record in lines(path)] == [1, 3]


def test_a_first_record_that_does_not_fit_is_no_beginning(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with full_at(10), pytest.raises(StorageError):
        folder.turn(turn(1))
    assert not folder.begun
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_run_is_not_discarded(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "one")
    RunFolder(tmp_path / "runs" / "two")
    folder.discard()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"]

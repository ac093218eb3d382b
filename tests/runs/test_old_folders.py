"""Run folders of an earlier version are opened, checked, gone back in, gone on with, exported."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.runs.test_interrupted import swap
from ultraedit.export.delta import export_delta
from ultraedit.export.model import export_model
from ultraedit.runs import workflow
from ultraedit.runs.revert import revert
from ultraedit.runs.rollback import rollback
from ultraedit.runs.store import JOURNAL, SEAL, Journal, seal_of
from ultraedit.runs.verify import verify

KEPT = Path(__file__).parents[1] / "fixtures" / "runs-of-9f9a200"
MADE_IN = "/tmp/old-runs"
"""Where the model and the facts of these runs were when they were made."""


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the old runs, whose journals know where their model and facts are now."""
    monkeypatch.setattr(workflow.report, "write", lambda _: None)
    place = tmp_path / "old"
    shutil.copytree(KEPT, place)
    for name in ("finished", "interrupted"):
        journal = place / name / JOURNAL
        database = sqlite3.connect(journal)
        for table, column in (("run", "value"), ("jobs", "settings")):
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(change, (MADE_IN, str(place)))
        database.commit()
        database.close()
        (place / name / SEAL).write_bytes(seal_of(journal))
    return place


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def assert_close(first, second):
    """The same up to the rounding of another machine."""
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], atol=1e-5, rtol=1e-5)


def test_an_old_run_is_whole_and_stays_as_it_is(old):
    before = {p: p.read_bytes() for p in (old / "finished").rglob("*") if p.is_file()}
    checked = verify(old / "finished")
    assert (checked.damages, checked.notes) == ((), ())
    assert checked.weights == "The saved model is the unedited one plus the change of 5 turns."
    assert before == {p: p.read_bytes() for p in (old / "finished").rglob("*") if p.is_file()}


def test_an_old_run_is_gone_back_in_and_on_from(old):
    folder = old / "finished"
    after_four = load_file(folder / "state" / "turn-000004.safetensors")
    rolled = rollback(folder, 4)
    assert (rolled.turn, rolled.edits, rolled.undone) == (4, 8, 1)
    name = "model.layers.0.mlp.down_proj.weight"
    change = weights(folder)[name] - weights(old)[name]
    saved = after_four["change/model.layers.0.mlp.down_proj"]
    torch.testing.assert_close(change.T, saved, atol=1e-7, rtol=0)
    assert verify(folder).is_whole
    assert rollback(folder, 3).undone == 1  # turn 3 has no snapshot
    assert verify(folder).is_whole
    done = workflow.append(folder, {"data": str(old / "facts.jsonl"), "limit": 2})
    assert done.summary["turns"] == 4
    assert verify(folder).is_whole


def test_an_old_run_that_was_interrupted_is_finished(old):
    assert workflow.resume(old / "interrupted").summary["turns"] == 5
    assert_close(weights(old / "interrupted"), weights(old / "finished"))
    assert verify(old / "interrupted").is_whole


def test_edits_of_an_old_run_are_taken_out_and_exported(old, tmp_path):
    folder = old / "finished"
    delta = export_delta(folder, tmp_path / "run.delta.safetensors")
    assert (delta.turns, delta.edits) == (5, 10)
    export_model(folder, tmp_path / "exported")
    assert_close(load_file(tmp_path / "exported" / "model.safetensors"), weights(folder))
    assert revert(folder, ["9"]).turn == 6
    journal = Journal.open(folder / JOURNAL)
    assert [each.edit.id for each in journal.standing()] == [str(n) for n in range(9)]
    journal.close()
    assert verify(folder).is_whole


def test_an_old_snapshot_that_holds_another_turn_is_found_by_its_norms(old, caplog):
    """As a run of that version left it that was interrupted twice within a turn."""
    folder = old / "interrupted"
    swap(folder, 3, 2)
    (damage,) = verify(folder).damages
    assert damage.file == "state/turn-000003.safetensors"
    assert "it changes model.layers.0.mlp.down_proj by" in damage.problem
    workflow.resume(folder)
    assert "The turns since the one before it are computed again." in caplog.text
    assert_close(weights(folder), weights(old / "finished"))
    assert verify(folder).is_whole

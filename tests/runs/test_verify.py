"""A byte that changes anywhere in a run folder is found, and its file is named."""

from __future__ import annotations

import shutil

import pytest

from ultraedit.core.files import sha256
from ultraedit.runs.rollback import rollback
from ultraedit.runs.store import JOURNAL, SEAL, Journal, seal_of
from ultraedit.runs.verify import verify


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def folder(kept, run, tmp_path):
    """A run with a kept snapshot and a latest one, fresh for every test."""
    if "run" not in kept:
        kept["run"] = run(snapshot_every=4)
    shutil.copytree(kept["run"], tmp_path / "copy")
    return tmp_path / "copy"


def test_a_whole_run_is_whole(folder):
    found = verify(folder)
    assert found.is_whole
    assert found.weights == "The saved model is the unedited one plus the change of 6 turns."
    assert found.notes == ()


def test_a_flipped_byte_in_any_file_is_found_and_named(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.name for path in files} >= {
        *(JOURNAL, SEAL, "config.json", "records.jsonl", "summary.json", "model.safetensors"),
        *("turn-000004.safetensors", "turn-000006.safetensors", "tokenizer.json"),
    }
    for path in files:
        content = path.read_bytes()
        for place in (0.0, 0.5, 0.999):
            if not content:
                continue
            flip(path, place)
            found = verify(folder)
            name = JOURNAL if path.name == SEAL else path.relative_to(folder).as_posix()
            assert name in [damage.file for damage in found.damages], (name, place)
            path.write_bytes(content)
    assert verify(folder).is_whole


def test_a_truncated_and_a_missing_file_are_named(folder):
    snapshot = folder / "state" / "turn-000004.safetensors"
    snapshot.write_bytes(snapshot.read_bytes()[:-10])
    (folder / "config.json").unlink()
    damages = {damage.file: damage.problem for damage in verify(folder).damages}
    assert damages["config.json"] == "it is missing"
    assert "bytes instead of" in damages["state/turn-000004.safetensors"]


def test_a_model_that_was_swapped_with_its_record_is_found_by_its_weights(folder, place):
    shutil.copy(place / "tiny" / "model.safetensors", folder / "model" / "model.safetensors")
    journal = Journal.open(folder / JOURNAL, write=True)
    files = [file for file in journal.files() if file.role == "result"]
    hashes = {"model/model.safetensors": sha256(folder / "model" / "model.safetensors")}
    journal.set_results(f._replace(sha256=hashes.get(f.path, f.sha256)) for f in files)
    journal.close()
    (folder / SEAL).write_bytes(seal_of(folder / JOURNAL))
    (damage,) = verify(folder).damages
    assert damage.file == "model"
    assert "not the unedited model plus the change" in damage.problem


def test_files_of_the_user_are_mentioned_and_no_damage(folder):
    (folder / "notes.txt").write_text("mine")
    found = verify(folder)
    assert found.is_whole
    assert found.notes == ("Not part of the run: notes.txt.",)


def test_verify_changes_nothing(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    verify(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_journal_that_was_not_closed_is_said_to_be_so(folder):
    (folder / SEAL).unlink()
    found = verify(folder)
    assert found.is_whole
    assert "There is no journal.sha256" in found.notes[0]
    rollback(folder, 6)
    assert verify(folder).notes == ()

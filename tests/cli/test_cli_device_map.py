"""``--device-map`` changes where a model lies and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_model
from ultraedit.models import save

RUN = ("run", "--data", "facts.jsonl", "--edits-per-turn", "2", "--device", "cpu")


@pytest.fixture
def deep(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "deep"
    save(tiny_model("llama", layers=5), folder)
    return str(folder)


def test_a_model_in_its_file_is_edited_and_saved_as_one_in_memory(cli, deep):
    found = {}
    for where in (None, "stream"):
        more = ("--device-map", where) if where else ()
        cli(*RUN, "--model", deep, "--free-answers", "1", "--out", str(where), *more)
        summary = json.loads(Path(str(where), "summary.json").read_text())
        weights = Path(str(where), "model", "model.safetensors").read_bytes()
        found[where] = summary["before"], summary["after"], weights
    assert found[None][0]["efficacy"] is not None
    for ours, theirs in zip(found["stream"][:2], found[None][:2], strict=True):
        assert ours["efficacy"] == pytest.approx(theirs["efficacy"], abs=1e-9)
        assert ours["agreement"] == pytest.approx(theirs["agreement"], abs=1e-9)
    assert len(found["stream"][2]) == len(found[None][2])


def test_a_model_spread_by_accelerate_is_edited(cli, deep):
    args = ("run", "--data", "facts.jsonl", "--model", deep, "--free-answers", "0")
    cli(*args, "--device-map", "auto", "--out", "auto")
    assert json.loads(Path("auto", "summary.json").read_text())["edits"] == 5


def test_another_word_is_refused(refused, deep):
    error = refused(*RUN, "--model", deep, "--device-map", "disk")
    assert error == "device-map must be 'auto' or 'stream', got 'disk'."

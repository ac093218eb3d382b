"""``--device-map`` changes where a model lies and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.models import load, save
from ultraedit.runs import base_model as opening

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


@pytest.fixture
def sharded(tmp_path_factory) -> str:
    """A checkpoint of many files, the layers of which are streamed."""
    folder = tmp_path_factory.mktemp("models") / "sharded"
    tiny = tiny_model("llama", layers=5)
    tiny.model.save_pretrained(folder, max_shard_size="60KB")
    tiny.tokenizer.save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    return str(folder)


@pytest.mark.slow
def test_a_streamed_run_can_be_looked_into_gone_back_in_and_carried_away(
    cli, sharded, tmp_path, monkeypatch
):
    more = ("--device-map", "stream", "--dtype", "float32", "--free-answers", "1")
    modules = ("--modules", "layers.[3-4].mlp.down_proj", "--eta", "auto")
    cli(*RUN, "--model", sharded, *modules, *more, "--out", "run")
    loaded = []
    monkeypatch.setattr(opening.models, "load", lambda *args, **options: loaded.append(args))
    assert json.loads(cli("verify", "run", "--json").stdout)["damages"] == []
    assert not loaded  # the saved model too is left in its files
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    scored = json.loads(cli("eval", "run", "--free-answers", "1", "--json").stdout)
    after = json.loads(Path("run", "summary.json").read_text())["after"]
    assert scored["scores"]["efficacy"] == after["efficacy"]

    Path("more.jsonl").write_text('{"prompt": "Who leads town 1?", "target": "Ada"}\n')
    cli("edit", "more.jsonl", "--append", "run")
    assert json.loads(Path("run", "summary.json").read_text())["edits"] == 6
    assert json.loads(cli("verify", "run", "--json").stdout)["damages"] == []

    for form, out in (("model", "edited"), ("delta", "d.safetensors"), ("lora", "adapter")):
        cli("export", "run", "--as", form, "--out", out)
    cli("apply", sharded, "d.safetensors", "--out", "applied")
    saved = [load(name, dtype="float32").model.state_dict() for name in ("run/model", "edited")]
    applied = load("applied", dtype="float32").model.state_dict()
    assert all(torch.equal(weight, saved[0][name]) for name, weight in saved[1].items())
    assert all(torch.equal(weight, saved[0][name]) for name, weight in applied.items())
    base = load(sharded, dtype="float32").model.state_dict()
    changed = {name for name, weight in base.items() if not torch.equal(weight, saved[0][name])}
    assert changed == {f"model.layers.{n}.mlp.down_proj.weight" for n in (3, 4)}

    cli("revert", "run", "--edit", "2")
    cli("rollback", "run", "--to-turn", "1")
    assert json.loads(cli("verify", "run", "--json").stdout)["damages"] == []
    cli("rollback", "run", "--to-turn", "0")
    back = load("run/model", dtype="float32").model.state_dict()
    assert all(torch.equal(weight, back[name]) for name, weight in base.items())

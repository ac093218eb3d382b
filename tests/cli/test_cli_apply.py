"""``ultraedit apply`` puts deltas on their base, and on nothing else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from tests.changes import make_delta, random_change
from ultraedit.models import load, save
from ultraedit.models.delta import save_delta
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.weights import weight_view


@pytest.fixture
def base(tiny):
    """The tiny model, read back from its folder as ``apply`` will read it."""
    return load(tiny, dtype="float32")


def changes_of(model, seed):
    named = type(model)(model.model, model.tokenizer, name="tiny-llama", source="")
    return random_change(named, seed=seed)


@pytest.fixture
def deltas(base, tiny, folder):
    """Two deltas of different edits to the same layers, and what they change."""
    found = []
    for seed, name in enumerate(("one", "two")):
        changes = changes_of(base, seed)
        save_delta(make_delta(base, changes, base=tiny), Path(f"{name}.safetensors"))
        found.append(changes)
    return found


def weights(folder, paths):
    model = load(str(folder), dtype="float32").model
    return {path: weight_view(model.get_submodule(path)) for path in paths}


@pytest.mark.parametrize(
    ("args", "signs"),
    [
        (["one.safetensors"], (1, 0)),
        (["one.safetensors", "two.safetensors"], (1, 1)),
        (["one.safetensors", "--subtract", "two.safetensors"], (1, -1)),
        (["--subtract", "one.safetensors"], (-1, 0)),
    ],
)
def test_deltas_are_added_and_subtracted(cli, base, tiny, deltas, args, signs):
    result = cli("apply", tiny, *args, "--out", "edited")
    assert "edited" in result.stdout
    assert "Try next: ultraedit ask edited" in result.stdout
    for path, weight in weights("edited", deltas[0]).items():
        change = sum(sign * d[path] for sign, d in zip(signs, deltas, strict=True) if sign)
        assert torch.equal(weight, weight_view(base.model.get_submodule(path)) + change)
    card = Path("edited/README.md").read_text()
    assert fingerprint(base.model) in card
    assert ("subtracted" in card) == (-1 in signs)


def test_the_result_as_json(cli, tiny, deltas):
    result = json.loads(cli("apply", tiny, "one.safetensors", "--out", "e", "--json").stdout)
    assert (result["model"], result["base"], result["dtype"]) == ("e", tiny, "float32")
    (row,) = result["deltas"]
    assert (row["sign"], row["delta"], row["edits"]) == ("+", "one.safetensors", 5)


def test_another_base_is_refused(refused, tiny, deltas, folder, tmp_path):
    cut = load(tiny, dtype="float32")
    cut.model.model.norm.weight.data += 1
    save(cut, "other")
    sentence = refused("apply", "other", "one.safetensors", "--out", "edited")
    assert sentence.startswith("one.safetensors is a change of ")
    assert sentence.count("sha256:") == 2
    assert not Path("edited").exists()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["one.safetensors"], "--out is missing"),
        (["--out", "edited"], "There is no delta to apply"),
        (["nowhere.safetensors", "--out", "edited"], "There is no file nowhere.safetensors"),
        (["facts.jsonl", "--out", "edited"], "facts.jsonl is no safetensors file"),
        (["one.safetensors", "--out", "one.safetensors"], "one.safetensors is already there"),
        (["one.safetensors", "half.safetensors", "--out", "edited"], "had the same --dtype"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(refused, base, tiny, deltas, args, expected):
    save_delta(make_delta(base, deltas[0], dtype="bfloat16"), Path("half.safetensors"))
    before = sorted(os.listdir())
    assert expected in refused("apply", tiny, *args)
    assert sorted(os.listdir()) == before


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_read(refused, deltas):
    Path("mine").mkdir()
    Path("mine/letter").write_text("")
    sentence = refused("apply", "./nowhere", "one.safetensors", "--out", "mine")
    assert sentence.startswith("mine is already there")


def test_a_full_disk_leaves_nothing(refused, tiny, deltas, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(os.listdir())
    sentence = refused("apply", tiny, "one.safetensors", "--out", "edited")
    assert "No space left on device" in sentence
    assert sorted(os.listdir()) == before

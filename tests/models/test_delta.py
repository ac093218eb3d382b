"""A delta is one file that gives exactly the run's weights, on the run's base model alone."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.changes import make_delta, random_change
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError, StorageError
from ultraedit.core.types import Additive
from ultraedit.models import find_modules, load, save
from ultraedit.models.delta import apply_delta, combine, load_delta, save_delta, short
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.weights import EditedWeights, weight_view

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def model():
    return tiny_model("llama")


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "facts.safetensors"
    save_delta(make_delta(model, random_change(model)), path)
    return path


def rewrite(path, *, tensors=None, **header):
    """Change a delta's file behind its back; a text of None takes its key away."""
    with safe_open(path, framework="pt") as old:
        metadata = {key: text for key, text in (old.metadata() | header).items() if text}
    save_file(load_file(path) if tensors is None else tensors, path, metadata=metadata)


def test_a_delta_comes_back_from_its_file_as_it_was(model, file):
    delta = make_delta(model, random_change(model))
    found = load_delta(file)
    assert found.about | {"created": ""} == delta.about | {"created": ""}
    assert (found.edits, found.turns, found.source) == (5, 2, str(file))
    assert found.changes.keys() == delta.changes.keys()
    for path, change in delta.changes.items():
        assert torch.equal(found.changes[path], change)
    assert os.listdir(file.parent) == [file.name]
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_applied_delta_gives_the_runs_weights_bit_for_bit(arch, dtype, tmp_path):
    model, other = tiny_model(arch, dtype=dtype), tiny_model(arch, dtype=dtype)
    weights = EditedWeights(find_modules(model.model, list(random_change(model))))
    base = fingerprint(model.model)
    for seed in range(3):
        weights.apply(Additive(random_change(model, seed=seed)))
    delta = make_delta(model, dict(weights.changes), fingerprint=base)
    save_delta(delta, tmp_path / "delta.safetensors")
    apply_delta(other, [load_delta(tmp_path / "delta.safetensors")])
    assert fingerprint(other.model) == fingerprint(model.model)
    for (name, weight), twin in zip(
        model.model.named_parameters(), other.model.parameters(), strict=True
    ):
        assert torch.equal(weight, twin), name
    assert fingerprint(model.model) != base


def test_the_applied_model_survives_saving_and_loading(tmp_path):
    model = tiny_model("llama", dtype=torch.bfloat16)
    changes = random_change(model)
    expected = {
        path: (weight_view(model.model.get_submodule(path)).float() + change).bfloat16()
        for path, change in changes.items()
    }
    apply_delta(model, [make_delta(model, changes)])
    save(model, tmp_path / "model")
    loaded = load(str(tmp_path / "model"), dtype="bfloat16").model
    for path, weight in expected.items():
        assert torch.equal(weight_view(loaded.get_submodule(path)), weight)


def test_another_base_is_refused_by_name_with_both_fingerprints_and_left_alone(file):
    other = tiny_model("llama", seed=1)
    before = fingerprint(other.model)
    with pytest.raises(ConfigError) as caught:
        apply_delta(other, [load_delta(file)])
    for part in (str(file), "tiny-llama in float32", short(before), "nothing overrides this"):
        assert part in str(caught.value)
    assert short(load_delta(file).fingerprint) in str(caught.value)
    assert fingerprint(other.model) == before


def test_the_same_base_in_another_precision_is_another_base(file):
    with pytest.raises(ConfigError, match=r"tiny-llama in float32.*tiny-llama in bfloat16 has"):
        apply_delta(tiny_model("llama", dtype=torch.bfloat16), [load_delta(file)])


def test_a_refused_second_delta_leaves_the_first_unapplied(model):
    good = make_delta(model, random_change(model))
    bad = make_delta(model, random_change(model), fingerprint="sha256:" + "0" * 64)
    before = fingerprint(model.model)
    with pytest.raises(ConfigError, match="sha256:000000000000, but"):
        apply_delta(model, [good, bad])
    assert fingerprint(model.model) == before


def test_deltas_add_up_and_subtract(model):
    one, two = random_change(model), random_change(model, seed=1)
    first, second = list(one)
    left, right = {first: one[first]}, {first: two[first], second: two[second]}
    total = combine([make_delta(model, left), make_delta(model, right)], [1, -1])
    assert torch.equal(total[first], one[first] - two[first])
    assert torch.equal(total[second], -two[second])


def test_disjoint_deltas_give_what_each_gives_alone(model):
    first, second = ({path: change} for path, change in random_change(model).items())
    apply_delta(model, [make_delta(model, first), make_delta(model, second)])
    for changes in (first, second):
        alone = tiny_model("llama")
        apply_delta(alone, [make_delta(alone, changes)])
        for path in changes:
            weights = (each.model.get_submodule(path).weight for each in (model, alone))
            assert torch.equal(*weights)


def test_a_delta_and_its_opposite_give_the_base_back(model):
    delta = make_delta(model, random_change(model))
    before = fingerprint(model.model)
    apply_delta(model, [delta, delta], [1, -1])
    assert fingerprint(model.model) == before


def test_deltas_of_different_shapes_are_refused(model):
    changes = random_change(model)
    turned = {path: change.T.contiguous() for path, change in changes.items()}
    deltas = [make_delta(model, changes), make_delta(model, turned, source="turned")]
    with pytest.raises(DataError, match=r"turned changes .*down_proj in the shape \(32, 48\)"):
        apply_delta(model, deltas)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"ultraedit_delta": None}, "no delta: its header has no 'ultraedit_delta'"),
        ({"ultraedit_delta": "2", "version": "9.1"}, "format 2, made by ultraedit 9.1"),
        ({"fingerprint": None}, "has no 'fingerprint'"),
        ({"sha256": None}, "has no 'sha256'"),
        ({"edits": "many"}, "counts 'many' edits"),
    ],
)
def test_a_foreign_or_newer_file_is_refused(file, header, message):
    rewrite(file, **header)
    with pytest.raises(DataError, match=message) as caught:
        load_delta(file)
    assert str(file) in str(caught.value)


def test_a_model_file_is_no_delta(model, tmp_path):
    save(model, tmp_path / "model")
    with pytest.raises(DataError, match="is a safetensors file but no delta"):
        load_delta(tmp_path / "model" / "model.safetensors")


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_file_that_was_cut_off_is_refused(file, cut):
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(StorageError, match=r"facts\.safetensors is no safetensors file, or only"):
        load_delta(file)


def test_a_flipped_bit_in_the_changes_is_noticed(file):
    content = bytearray(file.read_bytes())
    content[-17] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"):
        load_delta(file)


def test_a_swapped_pair_of_modules_is_noticed(file):
    (one, first), (other, second) = load_file(file).items()
    rewrite(file, tensors={one: second, other: first})
    with pytest.raises(StorageError, match="is damaged"):
        load_delta(file)


@pytest.mark.parametrize("value", [torch.full((48, 32), torch.nan), torch.ones(48)])
def test_changes_that_are_no_finite_matrices_are_refused(model, tmp_path, value):
    path = tmp_path / "delta.safetensors"
    save_delta(make_delta(model, {"model.layers.0.mlp.down_proj": value}), path)
    with pytest.raises(DataError, match=r"down_proj by something other than a matrix of finite"):
        load_delta(path)


def test_a_delta_without_changes_is_refused(model, tmp_path):
    save_delta(make_delta(model, {}), tmp_path / "delta.safetensors")
    with pytest.raises(DataError, match="changes no module"):
        load_delta(tmp_path / "delta.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no file .*nowhere\.safetensors"):
        load_delta(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_already_is_not_replaced(model, tmp_path, kind):
    path = tmp_path / "taken"
    path.write_text("mine") if kind == "file" else path.mkdir()
    with pytest.raises(ConfigError, match="taken is already there"):
        save_delta(make_delta(model, random_change(model)), path)
    assert os.listdir(tmp_path) == ["taken"]


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"Cannot write .*delta: No space left on device"):
        save_delta(make_delta(model, random_change(model)), tmp_path / "delta")
    assert os.listdir(tmp_path) == []


def test_when_and_by_what_it_was_made_is_filled_in(model):
    delta = make_delta(model, {})
    assert delta.created.endswith("+00:00")
    assert delta.version[0].isdigit()


@pytest.fixture
def sharded(model, tmp_path):
    """A delta of two modules in two files, and the delta."""
    delta = make_delta(model, random_change(model))
    save_delta(delta, tmp_path / "facts.safetensors", shard_bytes=48 * 32 * 4)
    return tmp_path / "facts.safetensors", delta


NAMES = [
    "facts-00001-of-00002.safetensors",
    "facts-00002-of-00002.safetensors",
    "facts.safetensors.index.json",
]


def test_a_delta_above_the_limit_is_several_files_that_read_as_one(sharded, model, tmp_path):
    _, delta = sharded
    assert sorted(os.listdir(tmp_path)) == NAMES
    for name in ("facts.safetensors", NAMES[-1]):
        found = load_delta(tmp_path / name)
        assert found.about | {"created": ""} == delta.about | {"created": ""}
        assert found.changes.keys() == delta.changes.keys()
        assert all(torch.equal(found.changes[each], delta.changes[each]) for each in delta.changes)
    save_delta(delta, tmp_path / "one.safetensors", shard_bytes=2 * 48 * 32 * 4)
    assert (tmp_path / "one.safetensors").is_file()
    assert len(os.listdir(tmp_path)) == 4
    assert [len(load_file(tmp_path / name)) for name in NAMES[:2]] == [1, 1]


def test_the_index_of_a_sharded_delta_is_that_of_a_sharded_model(sharded, tmp_path):
    """As the hub's client reads it."""
    from huggingface_hub import split_torch_state_dict_into_shards

    _, delta = sharded
    index = json.loads((tmp_path / NAMES[-1]).read_text())
    theirs = split_torch_state_dict_into_shards(
        {name: delta.changes[name] for name in sorted(delta.changes)},
        filename_pattern="facts{suffix}.safetensors",
        max_shard_size=48 * 32 * 4,
    )
    assert index["weight_map"] == theirs.tensor_to_filename
    assert index["metadata"]["total_size"] == theirs.metadata["total_size"]


def test_a_shard_by_itself_is_refused_and_says_what_to_give(sharded, tmp_path):
    with pytest.raises(DataError, match=r"a part of a delta, 1 of 2\. Give .*facts\.safetensors,"):
        load_delta(tmp_path / NAMES[0])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda a, b, index: b.unlink(), "00002-of-00002.safetensors is missing"),
        (lambda a, b, index: shutil.copy(a, b), "does not hold the tensors that"),
        (lambda a, b, index: rewrite(b, ultraedit_delta_shard="0" * 64), "but of another one"),
        (
            lambda a, b, index: rewrite(
                b, tensors={name: change + 1 for name, change in load_file(b).items()}
            ),
            "facts.safetensors is damaged",
        ),
        (lambda a, b, index: b.write_bytes(b.read_bytes()[:-9]), "only a part of one"),
        (lambda a, b, index: index.write_text('{"weight_map": {}}'), "is no index of"),
        (lambda a, b, index: index.write_text("["), "is no index of"),
        (
            lambda a, b, index: index.write_text(index.read_text().replace("facts-", "../facts-")),
            "which is not beside it",
        ),
    ],
)
def test_a_damaged_sharded_delta_is_refused(sharded, tmp_path, damage, expected):
    path, _ = sharded
    damage(*(tmp_path / name for name in NAMES))
    with pytest.raises(StorageError, match=expected):
        load_delta(path)


def test_a_sharded_delta_is_written_whole_or_not_at_all(model, tmp_path, monkeypatch):
    delta, path = make_delta(model, random_change(model)), tmp_path / "facts.safetensors"
    right = os.replace
    names = []

    def replace(source, target):
        names.append(os.path.basename(target))
        if str(target).endswith("00001-of-00002.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        right(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(StorageError, match="No space left"):
        save_delta(delta, path, shard_bytes=1)
    assert names == ["facts-00002-of-00002.safetensors", "facts-00001-of-00002.safetensors"]
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    save_delta(delta, path, shard_bytes=1)
    with pytest.raises(ConfigError, match=r"facts\.safetensors\.index\.json is already there"):
        save_delta(delta, path, shard_bytes=1)

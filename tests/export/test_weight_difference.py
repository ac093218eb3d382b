"""A difference is told by its norm, ranks and leading singular values."""

from __future__ import annotations

import pytest
import torch

from tests.changes import make_delta, random_change
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.export.weight_difference import LEADING, diff_changes, diff_models
from ultraedit.models.delta import apply_delta


def test_two_changes_differ_by_their_difference():
    model = tiny_model("llama")
    one, other = random_change(model, rank=3), random_change(model, seed=1, rank=2)
    for found in diff_changes(one, other):
        difference = one[found.module] - other[found.module]
        assert found.shape == (48, 32)
        assert found.norm == pytest.approx(float(difference.norm()), rel=1e-5)
        assert found.relative == pytest.approx(
            float(difference.norm() / other[found.module].norm()), rel=1e-5
        )
        assert found.rank == 5
        assert 1 < found.effective_rank <= 5
        expected = torch.linalg.svdvals(difference)[:LEADING].tolist()
        assert found.singular_values == pytest.approx(expected, rel=1e-4)


def test_a_module_that_only_one_changes_is_unchanged_in_the_other():
    first, second = random_change(tiny_model("llama")).items()
    left, right = diff_changes(dict([first]), dict([second]))
    assert (left.module, right.module) == (first[0], second[0])
    assert left.relative is None
    assert right.relative == pytest.approx(1)
    assert right.norm == pytest.approx(float(second[1].norm()), rel=1e-5)


def test_a_change_does_not_differ_from_itself():
    changes = random_change(tiny_model("llama"))
    for found in diff_changes(changes, changes):
        assert (found.norm, found.relative, found.rank, found.effective_rank) == (0, 0, 0, 0)
        assert set(found.singular_values) == {0}


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_two_models_differ_where_they_were_edited(arch):
    base, edited = tiny_model(arch), tiny_model(arch)
    changes = random_change(edited, rank=2)
    apply_delta(edited, [make_delta(edited, changes)])
    found = {each.module: each for each in diff_models(edited.model, base.model)}
    assert found.keys() == changes.keys()
    for path, change in changes.items():
        weight = base.model.get_submodule(path).weight
        assert found[path].norm == pytest.approx(float(change.norm()), rel=1e-4)
        assert found[path].relative == pytest.approx(float(change.norm() / weight.norm()), rel=1e-4)
        assert found[path].rank >= 2
        assert found[path].effective_rank < 2.1


def test_models_in_different_precisions_are_compared_as_they_are():
    base, rounded = tiny_model("llama"), tiny_model("llama", dtype=torch.bfloat16)
    found = diff_models(rounded.model, base.model)
    assert found
    assert all(each.relative < 0.01 for each in found)
    assert {each.module for each in found} <= {
        name.removesuffix(".weight") for name, _ in base.model.named_parameters()
    }


def test_vectors_count_as_one_row():
    base, other = tiny_model("llama"), tiny_model("llama")
    other.model.model.norm.weight.data += 1
    (found,) = diff_models(other.model, base.model)
    assert (found.module, found.shape, found.rank) == ("model.norm", (32,), 1)
    assert found.norm == pytest.approx(32**0.5)


def test_what_is_not_of_one_model_is_refused():
    with pytest.raises(ConfigError, match=r"Only one of the two models has .*layers\.2"):
        diff_models(tiny_model("llama", layers=3).model, tiny_model("llama").model)
    with pytest.raises(ConfigError, match=r"layer has the shape \(2, 3\) in the one and \(3, 2\)"):
        diff_changes({"layer": torch.ones(2, 3)}, {"layer": torch.ones(3, 2)})

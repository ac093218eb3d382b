"""Applying and taking back changes of weights."""

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.core.types import Additive, LowRank
from ultraedit.models import find_modules
from ultraedit.models.modules import shape_of
from ultraedit.models.weights import EditedWeights, weight_view


def edited(arch="llama", pattern="layers.[0-1].mlp.down_proj", dtype=torch.float32, **options):
    modules = find_modules(tiny_model(arch, dtype=dtype).model, [pattern])
    return modules, EditedWeights(modules, **options)


def random_patch(modules, scale=0.01, seed=0, rank=3):
    generator = torch.Generator().manual_seed(seed)
    changes = {}
    for path, module in modules.items():
        d_in, d_out = shape_of(module)
        left = torch.randn(d_in, rank, generator=generator) * scale
        changes[path] = LowRank(left, torch.randn(rank, d_out, generator=generator))
    return Additive(changes)


@pytest.mark.parametrize(
    ("arch", "pattern"),
    [("llama", "layers.[0-1].mlp.down_proj"), ("gpt2", "h.[0-1].mlp.c_proj")],
    ids=["Linear", "Conv1D"],
)
def test_a_patch_changes_the_layers_output_by_keys_times_update(arch, pattern):
    modules, weights = edited(arch, pattern)
    patch = random_patch(modules)
    for path, module in modules.items():
        keys = torch.randn(4, shape_of(module).d_in)
        before = module(keys)
        with weights.applied(patch):
            after = module(keys)
        torch.testing.assert_close(
            after - before, keys @ patch.changes[path].dense(), atol=1e-5, rtol=1e-4
        )
        assert torch.equal(module(keys), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("master", ["float32", "model"])
def test_restore_and_reset_are_bit_exact(dtype, master):
    modules, weights = edited(dtype=dtype, master=master)
    original = {path: module.weight.clone() for path, module in modules.items()}
    weights.apply(random_patch(modules))
    middle, snapshot = {p: m.weight.clone() for p, m in modules.items()}, weights.snapshot()
    weights.apply(random_patch(modules, seed=1))
    assert all(not torch.equal(m.weight, middle[p]) for p, m in modules.items())
    weights.restore(snapshot)
    assert all(torch.equal(m.weight, middle[p]) for p, m in modules.items())
    weights.reset()
    assert all(torch.equal(m.weight, original[p]) for p, m in modules.items())
    assert all(weights.relative_change(path) == 0 for path in modules)


def test_a_float32_master_keeps_what_bfloat16_would_round_away():
    tiny = 1e-5  # below half a step of bfloat16 at the size of these weights
    changed = {}
    for master in ("float32", "model"):
        modules, weights = edited(dtype=torch.bfloat16, master=master)
        path = next(iter(modules))
        with torch.no_grad():
            weight_view(modules[path]).fill_(0.5)
        weights = EditedWeights(modules, master)
        step = Additive({path: torch.full(tuple(shape_of(modules[path])), tiny)})
        for _ in range(1000):
            weights.apply(step)
        assert modules[path].weight.dtype == torch.bfloat16
        changed[master] = weights.changes[path].mean().item()
    assert changed["model"] == 0
    assert changed["float32"] == pytest.approx(1000 * tiny, rel=1e-2)


def test_the_accumulated_change_is_the_sum_of_the_patches():
    modules, weights = edited()
    first, second = random_patch(modules), random_patch(modules, seed=1)
    weights.apply(first)
    weights.apply(Additive({path: c.dense() for path, c in second.changes.items()}))
    for path in modules:
        expected = first.changes[path].dense() + second.changes[path].dense()
        torch.testing.assert_close(weights.changes[path], expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("bad", ["shape", "path", "nan"])
def test_a_patch_that_cannot_be_applied_whole_is_not_applied_at_all(bad):
    modules, weights = edited()
    original = {path: module.weight.clone() for path, module in modules.items()}
    changes = dict(random_patch(modules).changes)
    last = list(modules)[-1]
    if bad == "shape":
        changes[last] = torch.zeros(3, 3)
        error, message = ConfigError, r"the patch has shape \(3, 3\), the weight \(48, 32\)"
    elif bad == "path":
        changes["model.elsewhere"] = changes[last]
        error, message = ConfigError, "changes 'model.elsewhere', which is not among"
    else:
        changes[last] = torch.full((48, 32), float("nan"))
        error, message = NumericalError, "the update is not finite; the weights were left"
    with pytest.raises(error, match=message):
        weights.apply(Additive(changes))
    assert all(torch.equal(m.weight, original[p]) for p, m in modules.items())

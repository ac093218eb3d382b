"""A norm between an edited layer and the hidden states: found, and gone back through."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.host.trace import TokenPlace, norm_behind, through_norm
from ultraedit.models.modules import decoder_blocks

D = 24


class RMS(torch.nn.Module):
    """A norm as Gemma has it: the weight is one more than the parameter."""

    def __init__(self, weight):
        super().__init__()
        self.extra = torch.nn.Parameter(weight - 1)

    def forward(self, x):
        return (1 + self.extra) * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


@pytest.fixture
def norm():
    return RMS(torch.rand(D, generator=torch.Generator().manual_seed(0)) * 30 + 0.01)


@pytest.fixture
def outputs():
    return torch.randn(7, D, generator=torch.Generator().manual_seed(1)) * 0.3


def lengths(rows):
    return rows.norm(dim=1)


def test_what_the_norm_can_put_out_is_reached_by_outputs_of_the_same_length(norm, outputs):
    other = torch.randn(7, D, generator=torch.Generator().manual_seed(2))
    moves = norm(other).detach() - norm(outputs).detach()
    changed = outputs + through_norm(norm, outputs, moves)
    torch.testing.assert_close(norm(changed), norm(other), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(lengths(changed), lengths(outputs))


def test_of_what_it_cannot_put_out_the_nearest_is_taken(norm, outputs):
    moves = 50 * torch.randn(7, D, generator=torch.Generator().manual_seed(3))
    wanted = norm(outputs) + moves
    changed = outputs + through_norm(norm, outputs, moves)
    left = lengths(norm(changed) - wanted)
    assert bool((left < lengths(moves)).all())
    draw = torch.Generator().manual_seed(4)
    for _ in range(300):
        near = changed + 0.02 * torch.randn(7, D, generator=draw)
        assert bool((lengths(norm(near) - wanted) >= left - 1e-2).all())
    torch.testing.assert_close(lengths(changed), lengths(outputs))


def test_no_move_is_no_change(norm, outputs):
    change = through_norm(norm, outputs, torch.zeros_like(outputs))
    torch.testing.assert_close(change, torch.zeros_like(change), rtol=0, atol=1e-6)


def test_a_norm_that_takes_off_the_mean_is_left_out_of_account(outputs):
    moves = torch.ones_like(outputs)
    shifted = outputs + 3
    assert through_norm(torch.nn.LayerNorm(D), shifted, moves) is moves


@pytest.mark.parametrize(
    ("arch", "name"),
    [("gemma3", "post_feedforward_layernorm"), ("llama", None), ("gpt2", None)],
)
def test_the_norm_behind_a_layer_is_found_by_what_it_reads(arch, name):
    model = tiny_model(arch).model
    block = decoder_blocks(model)[1]
    (path,) = [p for p, _ in block.named_modules() if p in ("mlp.down_proj", "mlp.c_proj")]
    place = TokenPlace((3, 5, 4), 2)
    found = norm_behind(model, block, path, block.get_submodule(path), place)
    assert found is (None if name is None else block.get_submodule(name))

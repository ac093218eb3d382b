"""The spectrum is that of a singular value decomposition, and truncating it is optimal."""

from __future__ import annotations

import math

import pytest
import torch

from ultraedit.core.spectrum import effective_rank, nearest, numerical_rank, rank_for, spectrum


def matrix(d_in, d_out, rank=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    k = rank or min(d_in, d_out)
    left = torch.randn(d_in, k, generator=generator, dtype=torch.float64)
    right = torch.randn(k, d_out, generator=generator, dtype=torch.float64)
    return left @ right


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (16, 16), (1, 7), (7, 1)])
def test_singular_values_are_those_of_the_decomposition(shape):
    change = matrix(*shape)
    expected = torch.linalg.svdvals(change)
    torch.testing.assert_close(spectrum(change).values, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)])
@pytest.mark.parametrize("rank", [1, 5, 24])
def test_the_nearest_change_is_the_truncated_decomposition(shape, rank):
    change = matrix(*shape)
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    expected = (left[:, :rank] * values[:rank]) @ right[:rank]
    found = nearest(change, spectrum(change), rank)
    assert found.left.shape == (shape[0], rank)
    assert found.right.shape == (rank, shape[1])
    torch.testing.assert_close(found.dense().double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)])
def test_a_rank_beyond_that_of_the_change_adds_nothing(shape):
    change = matrix(*shape, rank=3)
    found = nearest(change, spectrum(change), 24)
    torch.testing.assert_close(found.dense().double(), change, rtol=1e-4, atol=1e-4)
    assert found.left.abs().max() < 100


def test_what_is_lost_is_the_energy_that_is_not_kept():
    change = matrix(30, 20)
    found = spectrum(change)
    lost = change - nearest(change, found, 7).dense()
    share = float(lost.square().sum() / change.square().sum())
    assert 1 - float(found.energy[6]) == pytest.approx(share, rel=1e-4)
    assert share > 0.1  # So it was worth a test.


def test_both_factors_are_of_the_same_size():
    change = 1e-6 * matrix(30, 20)
    left, right = nearest(change, spectrum(change), 3)
    torch.testing.assert_close(left.norm(dim=0), right.norm(dim=1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99, 1.0])
def test_the_rank_for_a_share_is_the_smallest_that_keeps_it(share):
    found = spectrum(matrix(30, 20))
    rank = rank_for(found, share)
    assert float(found.energy[rank - 1]) >= share or rank == 20
    assert rank == 1 or float(found.energy[rank - 2]) < share


def test_the_numerical_rank_sees_through_the_rounding_of_float32():
    change = matrix(60, 40, rank=6).float()
    assert int((spectrum(change).values > 0).sum()) > 6
    assert numerical_rank(spectrum(change), (60, 40)) == 6


def test_the_effective_rank_counts_equal_directions_and_ignores_faint_ones():
    even = torch.eye(10)[:, :4]
    assert effective_rank(spectrum(even)) == pytest.approx(4)
    faint = torch.diag(torch.tensor([1.0, 1e-5, 1e-5]))
    assert 1 < effective_rank(spectrum(faint)) < 1.001
    two = torch.diag(torch.tensor([3.0, 1.0]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(spectrum(two)) == pytest.approx(math.exp(entropy))


def test_no_change_has_no_rank_and_stays_none():
    zero = torch.zeros(5, 3)
    found = spectrum(zero)
    assert numerical_rank(found, (5, 3)) == 0
    assert effective_rank(found) == 0
    assert rank_for(found, 0.99) == 1
    assert torch.equal(nearest(zero, found, 1).dense(), zero)

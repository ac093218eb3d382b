"""The ridge solve against its definition."""

import pytest
import torch

from ultraedit.core.errors import NumericalError
from ultraedit.core.linalg import damped_inverse, ridge_update, solve_positive_definite
from ultraedit.core.types import LowRank


def dense(update):
    return update.dense() if isinstance(update, LowRank) else update


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "d_in"), [(1, 7), (5, 7), (7, 7), (20, 7)])
def test_ridge_update_is_the_minimiser(n, d_in):
    keys, targets = random(n, d_in), random(n, 3, seed=1)
    delta = dense(ridge_update(keys, targets, 0.5)).requires_grad_()
    loss = (keys @ delta - targets).square().sum() + 0.5 * delta.square().sum()
    (grad,) = torch.autograd.grad(loss, delta)
    torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-12, rtol=0)


def test_small_turns_stay_in_factors_and_large_ones_do_not():
    assert isinstance(ridge_update(random(5, 7), random(5, 3), 1.0), LowRank)
    assert isinstance(ridge_update(random(9, 7), random(9, 3), 1.0), torch.Tensor)


@pytest.mark.parametrize("n", [6, 8, 40])
def test_the_kernel_form_equals_the_dense_form(n):
    keys, targets = random(n, 8), random(n, 4, seed=1)
    gram = keys.T @ keys + 2.0 * torch.eye(8, dtype=torch.float64)
    expected = torch.linalg.solve(gram, keys.T @ targets)
    torch.testing.assert_close(dense(ridge_update(keys, targets, 2.0)), expected)


def test_no_wanted_change_gives_no_update_and_the_update_is_linear_in_the_targets():
    keys, targets = random(5, 7), random(5, 3, seed=1)
    assert not dense(ridge_update(keys, torch.zeros_like(targets), 1.0)).any()
    once, twice = ridge_update(keys, targets, 1.0), ridge_update(keys, 2 * targets, 1.0)
    torch.testing.assert_close(2 * dense(once), dense(twice))


def test_a_larger_ridge_writes_less():
    keys, targets = random(5, 7), random(5, 3, seed=1)
    norms = [dense(ridge_update(keys, targets, ridge)).norm() for ridge in (0.1, 1.0, 10.0)]
    assert norms[0] > norms[1] > norms[2]


@pytest.mark.parametrize("ridge", [0, -1.0])
def test_ridge_must_be_positive(ridge):
    with pytest.raises(ValueError, match=f"ridge must be positive, got {ridge}"):
        ridge_update(random(2, 3), random(2, 3), ridge)


def test_row_counts_must_agree():
    with pytest.raises(ValueError, match="keys have 2 rows but targets have 3"):
        ridge_update(random(2, 3), random(3, 3), 1.0)


def test_a_float32_failure_is_retried_in_float64_and_named(caplog):
    # Positive definite, but its smallest eigenvalue is lost in float32.
    matrix = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double()
    matrix[1, 1] += 1e-9
    nearly = matrix.float().double()
    nearly[1, 1] = matrix[1, 1]
    with pytest.raises(NumericalError, match=r"layers\.3: the matrix is not positive definite"):
        solve_positive_definite(matrix.float() - torch.eye(2), torch.ones(2, 1), name="layers.3")
    assert "layers.3: Cholesky failed in float32, retried in float64" in caplog.text
    solved = solve_positive_definite(nearly, torch.ones(2, 1, dtype=torch.float64))
    torch.testing.assert_close(nearly @ solved, torch.ones(2, 1, dtype=torch.float64))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(NumericalError, match="not positive definite"):
        ridge_update(torch.full((2, 3), float("inf")), torch.ones(2, 3), 1.0)


def test_a_damped_inverse_is_the_inverse_of_the_damped_matrix():
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    moment = rows.T @ rows
    damped = moment.double() + 0.1 * moment.double().diagonal().mean() * torch.eye(6)
    inverse = damped_inverse(moment, 0.1)
    assert inverse.dtype == torch.float32
    torch.testing.assert_close(inverse.double(), torch.linalg.inv(damped), rtol=1e-5, atol=1e-8)


def test_a_moment_of_zeros_has_an_inverse_and_one_that_rounding_made_indefinite_too():
    torch.testing.assert_close(damped_inverse(torch.zeros(3, 3), 0.5), 2 * torch.eye(3))
    indefinite = torch.diag(torch.tensor([1.0, 1.0, -1e-3]))
    inverse = damped_inverse(indefinite, 1e-4)  # damped by 1e-2 of the mean in the end
    assert torch.linalg.eigvalsh(inverse).min() > 0
    with pytest.raises(NumericalError, match="layer: its second moment is not positive definite"):
        damped_inverse(torch.full((2, 2), float("nan")), 1e-4, name="layer")

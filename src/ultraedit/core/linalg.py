"""Pure matrix functions that the editors share. Torch alone; no models, no files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ultraedit.core.errors import NumericalError
from ultraedit.core.types import LowRank

Activation: TypeAlias = "Callable[[Tensor], Tensor]"
"""A nonlinearity, elementwise."""

logger = logging.getLogger(__name__)


PRECISE_ROWS = 4096
"""Up to this many rows the n x n system is formed and solved in float64. It is small beside the
forward pass, and float32 loses 2e-5 to 2e-4 of the update on real keys (LOG.md, 2026-11-22)."""


DAMPING_TRIALS = 5
"""How often `damped_inverse` tries, each time with ten times the damping."""


def solve_positive_definite(matrix: Tensor, right: Tensor, *, name: str = "system") -> Tensor:
    """Solve ``matrix @ x = right`` by Cholesky, once more in float64 if float32 fails.

    Args:
        matrix: Symmetric positive definite. Shape (n, n).
        right: Right-hand sides. Shape (n, m).
        name: What is being solved, for messages.

    Returns:
        The solution, in the dtype of `right`. Shape (n, m).

    Raises:
        NumericalError: If the matrix is not finite, or not positive definite even in float64.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info) != 0 and matrix.dtype != torch.float64:
        logger.warning(
            "%s: Cholesky failed in %s, retried in float64. Raise `ridge` if this repeats.",
            name,
            str(matrix.dtype).removeprefix("torch."),
        )
        factor, info = torch.linalg.cholesky_ex(matrix.double())
    if int(info) != 0 or not bool(torch.isfinite(factor).all()):
        raise NumericalError(
            f"{name}: the matrix is not positive definite, even in float64. "
            "Raise `ridge`, or look for infinite values in the model's activations."
        )
    return torch.cholesky_solve(right.to(factor.dtype), factor).to(right.dtype)


def ridge_update(
    keys: Tensor, targets: Tensor, ridge: float, *, name: str = "system"
) -> Tensor | LowRank:
    r"""Solve :math:`\min_\Delta \|K \Delta - V\|_F^2 + \lambda \|\Delta\|_F^2`.

    Equations 6 and 7 of Gu et al. (2025), with the penalty as a parameter. A turn usually has
    fewer rows than the layer has inputs: then the n x n system
    :math:`K^T (K K^T + \lambda I)^{-1} V` is solved instead of the d_in x d_in one, and the
    update stays in its factors. The two are equal by the push-through identity.

    The n x n system is solved in float64 up to `PRECISE_ROWS` rows; larger ones in the dtype of
    the keys, and once more in float64 if that fails.

    Args:
        keys: Layer inputs K. Shape (n, d_in).
        targets: Wanted change of the layer's outputs V. Shape (n, d_out).
        ridge: Penalty lambda on the size of the update, positive. Larger writes less.
        name: What is being solved, for messages.

    Returns:
        The update Delta, to be added to a weight stored as (d_in, d_out): factors of rank n
        when n < d_in, else dense.

    Raises:
        ValueError: If `ridge` is not positive, or the row counts differ.
    """
    if ridge <= 0:
        raise ValueError(f"ridge must be positive, got {ridge}.")
    if len(keys) != len(targets):
        raise ValueError(f"keys have {len(keys)} rows but targets have {len(targets)}.")
    n, d_in = keys.shape
    if n < d_in:
        rows = keys.double() if n <= PRECISE_ROWS else keys
        gram = rows @ rows.T  # (n, n)
        gram.diagonal().add_(ridge)
        return LowRank(keys.T, solve_positive_definite(gram, targets, name=name))
    gram = keys.T @ keys  # (d_in, d_in)
    gram.diagonal().add_(ridge)
    return solve_positive_definite(gram, keys.T @ targets, name=name)


class RidgeGradient(NamedTuple):
    """How a loss changes with what a ridge update was made of."""

    targets: Tensor
    """Gradient at the targets V. Shape (n, d_out)."""

    log_ridge: Tensor
    """Derivative by the logarithm of the penalty. Shape ()."""


def ridge_gradient(
    keys: Tensor, targets: Tensor, pull: Tensor, ridge: float, *, name: str = "system"
) -> RidgeGradient:
    r"""Pull a gradient at the update of `ridge_update` back to its targets and its penalty.

    MALMEN (Tan et al., 2024), section 3.3, in the n x n form. With A the gradient at the update
    and :math:`Q = K K^T + \lambda I`,

        dL/dV = Q^-1 (K A)        dL/dlog(lambda) = -lambda <Q^-1 (K A), Q^-1 V>

    so A (d_in, d_out) itself is not needed, nor anything of d_in x d_in.

    Args:
        keys: K. Shape (n, d_in).
        targets: V. Shape (n, d_out).
        pull: ``K A``, the gradient at the update seen through the keys. Shape (n, d_out).
        ridge: Penalty lambda, positive.
        name: What is being solved, for messages.

    Returns:
        The two gradients.
    """
    rows = keys.double() if len(keys) <= PRECISE_ROWS else keys
    gram = rows @ rows.T  # (n, n)
    gram.diagonal().add_(ridge)
    both = solve_positive_definite(gram, torch.cat([pull, targets], dim=1), name=name)
    at_targets, solution = both.split([pull.shape[1], targets.shape[1]], dim=1)
    log_ridge = -ridge * (at_targets.double() * solution.double()).sum()
    return RidgeGradient(at_targets, log_ridge)


def weighted_ridge_update(
    keys: Tensor, targets: Tensor, moment: Tensor, ridge: float, *, name: str = "system"
) -> Tensor | LowRank:
    r"""Solve :math:`\min_\Delta \|K \Delta - V\|_F^2 + \lambda \,\mathrm{tr}(\Delta^T C \Delta)`.

    Equation 14 of Meng et al. (2022). With :math:`C = L L^T` it is `ridge_update` for the keys
    :math:`K L^{-T}`, whose n x n form is Woodbury's identity for the system above. In float64.

    Args:
        keys: Layer inputs K. Shape (n, d_in).
        targets: Wanted change of the layer's outputs V. Shape (n, d_out).
        moment: Second moment C of the layer's inputs, positive definite. Shape (d_in, d_in).
        ridge: Weight lambda of the penalty, positive. Larger writes less.
        name: What is being solved, for messages.

    Returns:
        The update Delta in the dtype of the keys: factors of rank n when n < d_in, else dense.

    Raises:
        NumericalError: If C is not positive definite.
        ValueError: If `ridge` is not positive, or the row counts differ.
    """
    factor, info = torch.linalg.cholesky_ex(moment.double())
    if int(info) != 0 or not bool(torch.isfinite(factor).all()):
        raise NumericalError(f"{name}: the second moment of its inputs is not positive definite.")
    whitened = torch.linalg.solve_triangular(factor, keys.double().T, upper=False).T  # K L^-T
    update = ridge_update(whitened, targets.double(), ridge, name=name)
    left, *right = update if isinstance(update, LowRank) else (update,)
    left = torch.linalg.solve_triangular(factor.T, left, upper=True).to(keys.dtype)
    return LowRank(left, right[0].to(keys.dtype)) if right else left


def damped_inverse(moment: Tensor, damping: float, *, name: str = "system") -> Tensor:
    """The inverse of a second moment with something added to its diagonal.

    Args:
        moment: Symmetric and positive semidefinite. Shape (n, n).
        damping: What is added, relative to the mean of the diagonal; to a matrix of zeros, as it
            is. Positive.
        name: What is being inverted, for messages.

    Returns:
        The inverse, found in float64, in the dtype of `moment`. Shape (n, n).

    Raises:
        NumericalError: If the sum is not positive definite, as where an entry is not finite.
    """
    damped = moment.to(torch.float64, copy=True)
    mean = float(damped.diagonal().mean()) or 1.0
    added = 0.0
    for _ in range(DAMPING_TRIALS):
        damped.diagonal().add_(damping * mean - added)
        added = damping * mean
        factor, info = torch.linalg.cholesky_ex(damped)
        if int(info) == 0 and bool(torch.isfinite(factor).all()):
            return torch.cholesky_inverse(factor).to(moment.dtype)
        # A float32 moment of few directions has eigenvalues below zero by rounding.
        logger.info("%s: not positive definite with damping %g, tried ten times it.", name, damping)
        damping *= 10
    raise NumericalError(
        f"{name}: its second moment is not positive definite. Raise `damping`, or look for "
        "infinite values in the model's activations."
    )


def singular_triplets_above(matrix: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """The singular values of a matrix above a limit, with their vectors.

    Found in float64 from the smaller of the two Gram matrices, which is accurate for values that
    are not small beside the largest.

    Args:
        matrix: Shape (m, n).
        least: The limit, not negative.

    Returns:
        Left vectors (m, r), values (r,), right vectors (r, n), in float64.
    """
    matrix = matrix.double()
    if matrix.shape[0] < matrix.shape[1]:
        left, values, right = singular_triplets_above(matrix.T, least)
        return right.T, values, left.T
    squares, vectors = torch.linalg.eigh(matrix.T @ matrix)  # (n, n)
    above = squares > max(least, 0.0) ** 2
    values, right = squares[above].sqrt(), vectors[:, above]
    return (matrix @ right) / values, values, right.T


def activation_distances(before: Tensor, after: Tensor, activation: Activation) -> Tensor:
    """How far apart two outputs of a layer are, token by token, behind the nonlinearity.

    Args:
        before: Outputs. Shape (..., d_out).
        after: Outputs. Same shape.
        activation: The nonlinearity of the MLP.

    Returns:
        Euclidean lengths, at least float32. Shape (...).
    """
    wide = torch.promote_types(before.dtype, torch.float32)
    apart = activation(after.to(wide)) - activation(before.to(wide))
    lengths: Tensor = torch.linalg.vector_norm(apart, dim=-1)
    return lengths

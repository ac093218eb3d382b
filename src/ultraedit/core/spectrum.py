"""The singular values of a weight change, and the nearest change of a lower rank."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ultraedit.core.types import LowRank

_NOISE = 1e-8
"""How far below the largest singular value the others are right: the root of float64's epsilon."""


class Spectrum(NamedTuple):
    """Singular values of a matrix C of shape (d_in, d_out), with the vectors of its shorter side.

    Both come from the Gram matrix of the shorter side in float64: far quicker than a singular
    value decomposition where a side is long, and exact to 1e-8 of the largest value, where
    changes that add up in float32 are noise below 1e-7.
    """

    values: Tensor
    """Singular values, largest first. float64, shape (k,), where k is the shorter side."""

    vectors: Tensor
    """Their singular vectors on the shorter side, one a column. float64, shape (k, k)."""

    @property
    def energy(self) -> Tensor:
        """Share of ``||C||^2`` that the first r values hold, for each r from 1. Shape (k,)."""
        total = self.values.square().cumsum(0)
        return total / total[-1] if total[-1] > 0 else torch.ones_like(total)


def spectrum(change: Tensor) -> Spectrum:
    """Find the singular values of a weight change.

    Args:
        change: Shape (d_in, d_out), any floating dtype.
    """
    wide = change.double()
    gram = wide.T @ wide if _is_tall(change) else wide @ wide.T  # (k, k)
    squares, vectors = torch.linalg.eigh(gram)
    return Spectrum(squares.flip(0).clamp(min=0).sqrt(), vectors.flip(1))


def nearest(change: Tensor, svd: Spectrum, rank: int) -> LowRank:
    """Give the change of a rank that is nearest to another one, in the Frobenius norm.

    By Eckart and Young (1936) it is the truncated singular value decomposition. Each factor gets
    the square root of a singular value, so that neither is so small that half precision loses it.

    Args:
        change: Shape (d_in, d_out).
        svd: Its spectrum.
        rank: From 1 to the shorter side.

    Returns:
        The factors, float32, of shapes (d_in, rank) and (rank, d_out).
    """
    vectors = svd.vectors[:, :rank]
    # Below its noise a singular value is no scale: dividing by it would blow the noise up.
    noise = max(float(svd.values[0]) * _NOISE, torch.finfo(torch.float64).tiny)
    scale = svd.values[:rank].clamp(min=noise).sqrt()
    wide = change.double()
    if _is_tall(change):
        left, right = (wide @ vectors) / scale, (vectors * scale).T
    else:
        left, right = vectors * scale, (vectors / scale).T @ wide
    return LowRank(left.float().contiguous(), right.float().contiguous())


def rank_for(svd: Spectrum, share: float) -> int:
    """The smallest rank that keeps a share of the energy, at least 1.

    Args:
        svd: The spectrum of a change.
        share: Wanted share of ``||C||^2``, above 0 and at most 1.
    """
    return min(int((svd.energy < share).sum()) + 1, len(svd.values))


def numerical_rank(svd: Spectrum, shape: tuple[int, ...]) -> int:
    """How many singular values stand out of the rounding of float32.

    They are larger than the largest one times the longer side times the machine epsilon, as
    `torch.linalg.matrix_rank` has it.
    """
    floor = svd.values[0] * max(shape) * torch.finfo(torch.float32).eps
    return int((svd.values > floor).sum())


def effective_rank(svd: Spectrum) -> float:
    """How many directions a change really uses: ``exp(entropy)`` of its normalized values.

    Roy and Vetterli, "The effective rank" (EUSIPCO 2007). All equal, it is their number; one alone,
    it is 1; of no change, 0.
    """
    total = svd.values.sum()
    if total == 0:
        return 0.0
    shares = svd.values / total
    return float(torch.exp(-torch.xlogy(shares, shares).sum()))


def _is_tall(change: Tensor) -> bool:
    return change.shape[0] >= change.shape[1]

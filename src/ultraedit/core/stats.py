"""Running mean and variance of a stream of rows, as a value.

Lifelong normalization keeps one of these per edited module (or per weight shape) and nothing
else: its size does not depend on the number of edits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Variance = Literal["pooled", "released", "sample"]
"""``pooled``: the exact variance of all rows seen (Gu et al., 2025, Eq. 2 and 3).
``released``: the recurrence of the authors' code, which counts each batch's scatter
m / (m - 1) times for a batch of m rows, so that its standard deviation is too large.
``sample``: the exact variance with n - 1 from the first batch on, as in the code of MEND, where
``pooled`` divides the first batch by n, as the paper of UltraEdit does."""

EPS = torch.finfo(torch.float32).eps
"""Machine epsilon of float32, the paper's small constant."""


class RunningMoments(NamedTuple):
    """Count, mean and scatter of all rows so far, per coordinate.

    Accumulated in float64: a run of a million edits adds small turns to large sums.
    """

    seen: Tensor
    """Rows seen, N. Shape ()."""

    updates: Tensor
    """Batches folded in. Shape ()."""

    mean: Tensor
    """Mean of the rows. Shape (d,)."""

    scatter: Tensor
    """Sum of squared deviations from the mean. Shape (d,)."""

    @classmethod
    def zeros(cls, d: int, device: torch.device | str = "cpu") -> RunningMoments:
        """Moments of no rows at all."""
        scalar = torch.zeros((), dtype=torch.float64, device=device)
        vector = torch.zeros(d, dtype=torch.float64, device=device)
        return cls(scalar, scalar, vector, vector)

    def update(self, rows: Tensor, variance: Variance = "pooled") -> RunningMoments:
        """Fold a batch of rows in.

        With delta the difference between the batch's mean and the running one:

            mean    <- mean + m / (N + m) delta
            scatter <- scatter + (sum of squares within the batch) + N m / (N + m) delta^2

        Args:
            rows: The batch. Shape (m, d); m may be 0 or 1.
            variance: ``released`` multiplies the sum within the batch by m / (m - 1), as the
                authors' code does. A single row has no scatter in either.

        Returns:
            The moments of the rows before and these.
        """
        m = len(rows)
        if m == 0:
            return self
        rows = rows.double()
        mean = rows.mean(dim=0)  # (d,)
        within = (rows - mean).square().sum(dim=0)  # (d,)
        if variance == "released" and m > 1:
            within = within * (m / (m - 1))
        delta = mean - self.mean
        seen = self.seen + m
        return RunningMoments(
            seen,
            self.updates + 1,
            self.mean + delta * (m / seen),
            self.scatter + within + delta.square() * (self.seen * m / seen),
        )

    def std(self, variance: Variance = "pooled") -> Tensor:
        """Running standard deviation. Shape (d,).

        Equation 3, ``sqrt(scatter / (N - 1 + eps))``. The paper starts from
        ``sqrt(scatter / N + eps)`` when there has been one batch only; the released code and
        ``sample`` do not.
        """
        if variance == "pooled" and int(self.updates) <= 1:
            return (self.scatter / self.seen.clamp(min=1) + EPS).sqrt()
        return (self.scatter / (self.seen - 1 + EPS)).sqrt()

    def normalize(self, rows: Tensor, variance: Variance = "pooled") -> Tensor:
        """Subtract the mean and divide by the standard deviation (Eq. 1). Shape (n, d)."""
        mean, std = self.mean.to(rows.dtype), self.std(variance).to(rows.dtype)
        return (rows - mean) / (std + EPS)


class RunningCovariance(NamedTuple):
    """Moments of all rows so far, and the full covariance of their last coordinates.

    The first four fields are those of `RunningMoments`.
    """

    seen: Tensor
    """Rows seen, N. Shape ()."""

    updates: Tensor
    """Batches folded in. Shape ()."""

    mean: Tensor
    """Mean of the rows. Shape (d,)."""

    scatter: Tensor
    """Sum of squared deviations from the mean. Shape (d,)."""

    cross: Tensor
    """Sum of outer products of the deviations of the last coordinates. Shape (w, w)."""

    @classmethod
    def zeros(cls, d: int, w: int) -> RunningCovariance:
        """Moments of no rows at all: d coordinates, of which the last w have a covariance."""
        return cls(*RunningMoments.zeros(d), torch.zeros(w, w, dtype=torch.float64))

    @property
    def moments(self) -> RunningMoments:
        """The moments alone."""
        return RunningMoments(*self[:4])

    def update(self, rows: Tensor, variance: Variance = "pooled") -> RunningCovariance:
        """Fold a batch of rows in, as `RunningMoments.update` does. Shape (m, d)."""
        m, w = len(rows), len(self.cross)
        if m == 0:
            return self
        rows = rows.double()
        mean = rows.mean(dim=0)  # (d,)
        within = (rows - mean)[:, -w:]
        delta = (mean - self.mean)[-w:]
        between = torch.outer(delta, delta) * (self.seen * m / (self.seen + m))
        cross = self.cross + within.T @ within + between
        return RunningCovariance(*self.moments.update(rows, variance), cross)

    def normalize(self, rows: Tensor, variance: Variance = "pooled") -> Tensor:
        """Normalize each coordinate, then take the correlations out of the last ones.

        With R the correlation matrix of the last w coordinates, these are multiplied by
        R^(-1/2), its eigenvalues taken as at least `LEAST_EIGENVALUE`; once more rows than w + 1
        have been seen, before that not at all. Shape (n, d).
        """
        normalized = self.moments.normalize(rows, variance)
        w = len(self.cross)
        if not w or int(self.seen) <= w + 1:
            return normalized
        deviation = self.cross.diagonal().sqrt().clamp(min=1e-150)
        values, vectors = torch.linalg.eigh(self.cross / torch.outer(deviation, deviation))
        root = (vectors * values.clamp(min=LEAST_EIGENVALUE).rsqrt()) @ vectors.T  # (w, w)
        whitened = normalized[:, -w:].double() @ root
        return torch.cat([normalized[:, :-w], whitened.to(rows.dtype)], dim=1)


LEAST_EIGENVALUE = 1e-6
"""Below it a direction counts as having this much of the variance, rather than none."""


def pack(moments: Mapping[str, RunningMoments | RunningCovariance]) -> dict[str, Tensor]:
    """Lay named moments out as the flat tensors of an editor's state."""
    return {
        f"{name}/{field}": tensor
        for name, value in moments.items()
        for field, tensor in value._asdict().items()
    }


def unpack(state: Mapping[str, Tensor]) -> dict[str, RunningMoments]:
    """Undo `pack`; entries that are not part of any moments are left alone."""
    return {
        name: RunningMoments(*(state[f"{name}/{field}"] for field in RunningMoments._fields))
        for name in _packed(state)
    }


def unpack_covariances(state: Mapping[str, Tensor]) -> dict[str, RunningCovariance]:
    """Undo `pack` for covariances."""
    return {
        name: RunningCovariance(*(state[f"{name}/{field}"] for field in RunningCovariance._fields))
        for name in _packed(state)
    }


def _packed(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the moments in a state."""
    return [name.removesuffix("/seen") for name in state if name.endswith("/seen")]

r"""PRUNE: perturbation restraint on the upper bound of the condition number.

Ma et al. (2024), https://arxiv.org/abs/2405.16821. Let s1 be the largest singular value of the
unedited weight W0, and sum_i s_i u_i v_i^T the change that another editor has made to it over
all turns. Whenever the model is asked, or saved, the weight is

    W0 + sum_i F(s_i) u_i v_i^T     F(s) = log_alpha(s) - log_alpha(s1) + s1     if s >= s1
                                    F(s) = s                                     otherwise

and the next turn goes on from the change as it was.

Differs from the released code: F(s) is at most s, which the logarithm alone does not see to where
s1 < 1 / ln alpha. ``protocol="alphaedit-repo"`` adds the restrained change to the *edited* weight,
with the natural logarithm, as the version in AlphaEdit's repository does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import singular_triplets_above
from ultraedit.core.types import Additive, Host, LowRank, Patch, State, Turn
from ultraedit.editors.families.wrapper import Wrapper


@dataclass(frozen=True, kw_only=True)
class PRUNE(Wrapper):
    """The PRUNE wrapper. Its turns are those of the wrapped editor; `view` is its own.

    Raises:
        ConfigError: If an option is out of its range.
    """

    protocol: Literal["paper", "alphaedit-repo"] = "paper"
    """Restrain the total change (the paper), or add the restrained one on top of it, as the version
    in AlphaEdit's repository does. With the latter the next two are not read."""

    restraint: Literal["log", "linear"] = "log"
    """What is left of a large singular value: its logarithm, or the mean of it and the limit."""

    alpha: float = math.e
    """Base of the logarithm, above 1. Larger leaves less."""

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.protocol not in ("paper", "alphaedit-repo"):
            raise ConfigError(f"protocol must be paper or alphaedit-repo, got {self.protocol!r}.")
        if self.restraint not in ("log", "linear"):
            raise ConfigError(f"restraint must be log or linear, got {self.restraint!r}.")
        if not (math.isfinite(self.alpha) and self.alpha > 1):
            raise ConfigError(f"alpha must be a number above 1, got {self.alpha}.")

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Patch, State]:
        """The wrapped editor's turn, as it is."""
        return self.inner_step(host, turn, state)

    @torch.no_grad()
    def view(self, host: Host, state: State) -> Additive:
        """What turns the accumulated changes into the restrained ones."""
        changes: dict[str, Tensor | LowRank] = {}
        for path in host.modules:
            change = host.change(path)
            limit = largest_singular_value(host.weight(path) - change)
            correction = self._correction(change, limit)
            if self.protocol == "alphaedit-repo":
                dense = change if correction is None else change + correction.dense()
                changes[path] = dense
            elif correction is not None:
                changes[path] = correction
        return Additive(changes)

    def _correction(self, change: Tensor, limit: float) -> LowRank | None:
        """What to add to a change; None where none of its singular values is above the limit."""
        if float(change.norm()) <= limit:
            return None
        left, values, right = singular_triplets_above(change, limit)
        if not len(values):
            return None
        factors = self._restrained(values, limit) - values
        return LowRank((left * factors).to(change.dtype), right.to(change.dtype))

    def _restrained(self, values: Tensor, limit: float) -> Tensor:
        """``F`` of singular values that are above the limit. Shape (r,)."""
        if self.protocol == "alphaedit-repo":
            return (values / limit).log() + limit
        if self.restraint == "linear":
            return (values + limit) / 2
        return torch.minimum(values, (values / limit).log() / math.log(self.alpha) + limit)


def largest_singular_value(matrix: Tensor) -> float:
    """Spectral norm of a matrix, from the smaller of its two Gram matrices, in float64."""
    matrix = matrix.double() if matrix.shape[0] >= matrix.shape[1] else matrix.double().T
    return float(torch.linalg.eigvalsh(matrix.T @ matrix)[-1].clamp(min=0).sqrt())

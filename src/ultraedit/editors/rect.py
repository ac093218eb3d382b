r"""RECT: relative-change regularization of each update.

Gu et al. (2024), https://arxiv.org/abs/2401.04700. With Delta the change that another editor makes
to a weight W in a turn, elementwise,

    d = |Delta| / |W|

and of Delta only the share `keep` with the largest d is written, the rest is dropped.

Differs from the released code: there the step is commented out. ``protocol="alphaedit-repo"``
keeps 40 %, as the version in AlphaEdit's repository does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive, Host, State, Turn, dense
from ultraedit.editors.families.wrapper import Wrapper

KEEP = {"paper": 0.2, "alphaedit-repo": 0.4}
"""What `keep` is by protocol."""

EPS = 1e-8
"""Added to the size of a weight, which may be zero."""


@dataclass(frozen=True, kw_only=True)
class RECT(Wrapper):
    """The RECT wrapper. It remembers what the wrapped editor remembers.

    Raises:
        ConfigError: If an option is out of its range.
    """

    protocol: Literal["paper", "alphaedit-repo"] = "paper"
    """What `keep` defaults to: the paper's 0.2, or 0.4 as in AlphaEdit's repository."""

    keep: float | None = None
    """Share of each weight's entries that are changed. Smaller harms less and writes less."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        super().__post_init__()
        if self.protocol not in KEEP:
            raise ConfigError(f"protocol must be one of {', '.join(KEEP)}, got {self.protocol!r}.")
        if self.keep is None:
            object.__setattr__(self, "keep", KEEP[self.protocol])
        assert self.keep is not None
        if not 0 < self.keep <= 1:
            raise ConfigError(f"keep must be above 0 and at most 1, got {self.keep}.")

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Have the wrapped editor make its changes, and keep the relatively largest part."""
        assert self.keep is not None
        patch, state = self.inner_step(host, turn, state)
        changes = {
            path: largest_relative(
                dense(change),
                host.weight(path),
                self.keep,
            )
            for path, change in patch.changes.items()
        }
        return Additive(changes), state


def largest_relative(change: Tensor, weight: Tensor, keep: float) -> Tensor:
    """Zero all but the entries of a change that are largest beside the weight's.

    Args:
        change: Shape (d_in, d_out).
        weight: The weight that it is added to, same shape.
        keep: Share of the entries to keep. Entries as large as the last one kept are kept too.
    """
    relative = change.abs() / (weight.abs() + EPS)
    count = math.ceil(keep * relative.numel())
    least = relative.flatten().kthvalue(relative.numel() - count + 1).values
    return torch.where(relative >= least, change, 0)

r"""RLEdit: MALMEN's net, trained along a trajectory of turns whose changes stay.

Li et al., ICML 2025, https://arxiv.org/abs/2502.05759.

A turn is MALMEN's. Training goes through the turns t in order, each change staying for those
after it, and sums over the trajectory

    sum_i decay^i [ CE(rephrases of turn t-i) + loc KL(before turn t || after) ] + reg ||Delta||^2

for i from 0 to depth - 1: what earlier turns wrote must still hold.

Differs from the released code: see `PROTOCOLS`. The gradients of a turn's terms are summed batch
after batch, rather than holding the graphs of all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from ultraedit.core.errors import ConfigError
from ultraedit.editors.families.hypernetwork import PROTOCOLS as SHARED
from ultraedit.editors.families.hypernetwork import Recipe
from ultraedit.editors.families.trained import TrainingRows
from ultraedit.editors.malmen import MALMEN

PROTOCOLS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                **SHARED["paper"],
                "steps_per_epoch": "trajectory",
                "reg": "live",
                "loc_backward": "edited",
            }
        ),
        "official": MappingProxyType(
            {
                **SHARED["official"],
                "steps_per_epoch": "trajectory",
                "reg": "dead",
                "loc_backward": "reverted",
            }
        ),
    }
)
"""Where the paper and the released code differ, option by option."""


@dataclass(frozen=True, kw_only=True)
class RLEdit(MALMEN):
    """The RLEdit editor: MALMEN with another training.

    Raises:
        ConfigError: If an option cannot be, or there is no net where one is named.
    """

    name: ClassVar[str] = "rledit"
    training_rows: ClassVar[TrainingRows] = "matched"
    protocols: ClassVar[Mapping[str, Mapping[str, Any]]] = PROTOCOLS

    steps_per_epoch: Literal["trajectory", "turn"] | None = None
    """Training: the optimizer steps once at the end of the ``trajectory`` (both protocols), or
    after every ``turn``, which learns more."""

    reg: Literal["dead", "live"] | None = None
    """Training: whether the penalty on the change has a gradient (``live``, paper), or is a number
    that nothing follows from (``dead``, official)."""

    loc_backward: Literal["edited", "reverted"] | None = None
    """Training: weights that the gradient of the drift flows back through, those with the turn's
    change (``edited``, paper) or without it (``reverted``, official)."""

    reg_weight: float = 1e-4
    """Training: weight of the squared norm of the change."""

    depth: int = 10
    """Training: turns that are judged after each turn, the newest included."""

    decay: float = 0.95
    """Training: factor of the weight from each turn to the one before."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        super().__post_init__()
        if self.depth < 1:
            raise ConfigError(f"depth must be at least 1, got {self.depth}.")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay must be above 0 and at most 1, got {self.decay}.")
        if not 0 <= self.reg_weight < float("inf"):
            raise ConfigError(f"reg_weight must be at least 0, got {self.reg_weight}.")

    def recipe(self) -> Recipe:
        """How the net learns: along the trajectory."""
        assert self.loc_backward is not None
        return Recipe(
            meta_lr=self.meta_lr,
            scalar_lr=self.meta_lr,
            clip=self.clip,
            drift=self.loc,
            turns_per_step=None if self.steps_per_epoch == "trajectory" else 1,
            clip_each_turn=True,
            carry=True,
            depth=self.depth,
            decay=self.decay,
            reg=self.reg_weight if self.reg == "live" else 0.0,
            drift_backward=self.loc_backward,
        )

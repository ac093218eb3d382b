r"""MEND as it was first published: a net of its own, trained one edit at a time.

Mitchell et al., ICLR 2022, https://arxiv.org/abs/2110.11309, section 3.

    [k_i ; g_i] = blocks([h_i ; g_i] normalized),  x <- x + clamp(scale_m (U V x + b) + shift_m)
    W           <- W - lr_m sum_i k_i^T g_i

The statistics are those of the training; the code adds where the paper subtracts, and leaves
the sign to the net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.stats import Variance
from ultraedit.core.types import Host, LayerSignal, State, Turn
from ultraedit.editors.families.hypernetwork import PROTOCOLS as SHARED
from ultraedit.editors.families.hypernetwork import Recipe
from ultraedit.editors.families.normalized import require_positive
from ultraedit.editors.mend import MEND

PROTOCOLS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType({**SHARED["paper"], "variance": "sample", "sign": "subtract"}),
        "official": MappingProxyType(
            {**SHARED["paper"], "variance": "sample", "lr": 1e-4, "sign": "add"}
        ),
    }
)
"""Where the paper and the released code differ, option by option."""


@dataclass(frozen=True, kw_only=True)
class MENDOriginal(MEND):
    """The MEND editor of its first publication.

    Raises:
        ConfigError: If an option cannot be, or there is no net where one is named.
    """

    name: ClassVar[str] = "mend-original"
    protocols: ClassVar[Mapping[str, Mapping[str, Any]]] = PROTOCOLS
    clamp_last: ClassVar[bool] = True

    lr: float | Literal["auto"] | None = None
    """Scale of each module's change, before training. Unitless. ``auto`` (paper) sets it on the
    first turn, so that the change moves the module's output at its own edit tokens by `alpha`
    relative to its size, shared among the modules. Official is 1e-4."""

    variance: Variance | None = None
    """Running variance: ``sample`` (both) is exact, with n - 1 from the first turn on; ``pooled``
    has n there; ``released`` is that of UltraEdit's code."""

    sign: Literal["subtract", "add"] | None = None
    """Whether the sum is taken from the weight (``subtract``, paper) or added to it (``add``,
    official): then a fresh net does the opposite of an edit and has to learn the sign."""

    meta_lr: float = 1e-6
    """Training: step of Adam for the net."""

    clip: float = 100.0
    """Training: largest norm of the gradient of the whole net."""

    lr_lr: float = 1e-4
    """Training: step of Adam for each module's own scale."""

    edit_weight: float = 0.1
    """Training: weight of the rephrased prompts' answers, beside `loc` for the drift."""

    accumulate: int = 10
    """Training: edits whose gradients add up to a step of Adam."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        super().__post_init__()
        require_positive(self, "lr_lr", "edit_weight")
        if self.accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1, got {self.accumulate}.")

    def trace(self, host: Host, turn: Turn) -> dict[str, LayerSignal]:
        """All tokens but those where a layer's input, or its gradient, is zero throughout."""
        return {path: _telling(signal) for path, signal in super().trace(host, turn).items()}

    def observes(self, state: State) -> bool:
        """Statistics are those of the training; untrained, of the turn that sets the step."""
        return self.learned.net is None and not any(name.startswith("eta/") for name in state)

    def direction(self) -> float:
        """Whether the products are taken away (-1) or added (1)."""
        return -1.0 if self.sign == "subtract" else 1.0

    def recipe(self) -> Recipe:
        """How the net learns: from one edit at a time, a step for every few of them."""
        return Recipe(
            meta_lr=self.meta_lr,
            scalar_lr=self.lr_lr,
            clip=self.clip,
            drift=self.loc,
            answer=self.edit_weight,
            turns_per_step=self.accumulate,
            edits_per_turn=1,
        )


def _telling(signal: LayerSignal) -> LayerSignal:
    kept = (signal.keys != 0).any(dim=1) & (signal.grads != 0).any(dim=1)  # (n,)
    parts: list[Tensor | None] = [part if part is None else part[kept] for part in signal]
    keys, grads, segments, supervised = parts
    assert keys is not None
    assert grads is not None
    assert segments is not None
    return LayerSignal(keys, grads, segments, supervised)

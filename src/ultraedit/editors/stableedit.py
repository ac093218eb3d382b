r"""StableEdit: UltraEdit with warmed-up statistics, whitened gradients and a stronger ridge.

ICML 2026, https://arxiv.org/abs/2605.11836, after its released code.

    [h_hat ; g_hat] = (z - mu) / (sigma + eps)      statistics of the warm-up, and of all turns
    g_white         = g_hat R^(-1/2)                R: correlations of the gradients
    v               = -eta ||h_hat||^2 g_white
    Delta           = argmin ||H Delta - V||^2 + ridge ||Delta||^2

Differs from the released code: it whitens with the covariance of the gradients as they are, and
so depends on their scale through its least eigenvalue of 1e-6; here the gradients are normalized
first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net
from ultraedit.core.stats import RunningCovariance, pack, unpack_covariances
from ultraedit.core.types import Additive, Host, LossValue, ModuleShape, State, Turn
from ultraedit.editors.families.fit import Schedule
from ultraedit.editors.families.normalized import Moments, Normalized
from ultraedit.editors.families.trained import E, Learned, TrainingRows, with_net
from ultraedit.editors.ultraedit import UltraEdit


@dataclass(frozen=True, kw_only=True)
class StableEdit(UltraEdit):
    """The StableEdit editor.

    Raises:
        ConfigError: If an option cannot be, or there are no statistics where some are named.
    """

    name: ClassVar[str] = "stableedit"
    training_rows: ClassVar[TrainingRows] = "rest"

    eta: float | Literal["auto"] = "auto"
    """Scale of the targets, as for UltraEdit."""

    ridge: float = 10.0
    """Penalty on the size of the update. Larger writes less."""

    passes: int | Literal["auto"] = 1
    """How often, at most, a turn is gone through, as for UltraEdit."""

    net: str = "untrained"
    """File of the warm-up's statistics, from `ultraedit train`. Without it the first turn meets
    empty statistics."""

    warm_up: int = 20
    """Training: turns of the warm-up."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        super().__post_init__()
        if self.warm_up < 1:
            raise ConfigError(f"warm_up must be at least 1, got {self.warm_up}.")

    @cached_property
    def learned(self) -> Learned:
        """Its net: none, until `with_net` gives it one."""
        return Learned(self.name, self.net)

    def with_net(self: E, net: Net, where: str | None = None) -> E:
        """The same editor with a net, from the file `where` or from memory."""
        return with_net(self, net, where)

    def init(self, host: Host) -> State:
        """Empty statistics, or those of the warm-up."""
        begun = self.learned.begun(host, self)
        return super().init(host) if begun is None else begun

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Do a turn, with the statistics that the run began with."""
        self.learned.require_same(state)
        return super().step(host, turn, state)

    def remarks(self, host: Host, state: State) -> dict[str, str]:
        """Which statistics it began with."""
        return self.learned.remarks()

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The covariances of the gradients, and the warm-up's statistics."""
        covariances = 8 * sum(shape.d_out**2 for shape in shapes)
        kept = super().extra_memory(shapes, edits, itemsize)
        return kept | {"covariances of gradients in float64": covariances} | self.learned.bytes()

    def no_rows(self, shape: ModuleShape) -> RunningCovariance:
        """Statistics of no rows at all, with the covariance of the gradients."""
        return RunningCovariance.zeros(shape.d_in + shape.d_out, shape.d_out)

    def unpack(self, state: Mapping[str, Tensor]) -> dict[str, Moments]:
        """Statistics out of a state."""
        return dict(unpack_covariances(state))

    def learner(self, host: Host, seed: int) -> WarmUp:
        """Begin a warm-up."""
        return WarmUp(self, host)

    def schedule(self, wanted: Schedule) -> Schedule:
        """One pass over the turns of the warm-up."""
        return replace(wanted, epochs=1, turns=self.warm_up)


class WarmUp:
    """Gathers statistics from turns that are not made."""

    def __init__(self, editor: StableEdit, host: Host) -> None:
        self.editor = editor
        self.host = host
        self.moments = editor.unpack(Normalized.init(editor, host))

    @torch.no_grad()
    def learn(self, turn: Turn, earlier: Sequence[Turn] = ()) -> list[LossValue]:
        """Fold a turn in."""
        signals = self.editor.trace(self.host, turn)
        features = {path: self.editor.features(signal) for path, signal in signals.items()}
        self.moments = self.editor.observe(self.host, signals, features, self.moments)
        return []

    def end_epoch(self) -> None:
        """Nothing is left to do."""

    def losses(self, turns: Sequence[Turn]) -> list[LossValue]:
        """Nothing is learned that could be judged."""
        return []

    def steps_taken(self) -> int:
        """None, ever."""
        return 0

    def net(self, about: Mapping[str, object]) -> Net:
        """The statistics."""
        return Net({f"state/{name}": tensor for name, tensor in self.state().items()}, about)

    def state(self) -> dict[str, Tensor]:
        """The statistics."""
        return pack(self.moments)

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from statistics."""
        self.moments = self.editor.unpack(state)

r"""UltraEdit: training-, subject- and memory-free lifelong editing.

Gu et al. (2025), https://arxiv.org/abs/2505.14679, section 3.2 and Algorithm 1.

One turn, for each edited linear layer (row = one supervised token):

    z = [h ; g]            input of the layer and gradient of the loss at its output
    mu, sigma              mean and std of z over all turns so far, this one included   (2, 3)
    [h_hat ; g_hat]        = (z - mu) / (sigma + eps)                                   (1, 4)
    v                      = -eta ||h_hat||^2 g_hat                                     (5)
    Delta                  = argmin ||H Delta - V||^2 + ridge ||Delta||^2               (6, 7)

Differs from the released code: see `PROTOCOLS`; ``protocol="official"`` follows the code. In
both, a micro-batch with a single supervised token is harmless, where the code turns the
statistics into NaN for good.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from ultraedit.errors import ConfigError
from ultraedit.linalg import ridge_update
from ultraedit.stats import RunningMoments, Variance, pack, unpack
from ultraedit.types import Additive, Host, LayerSignal, LowRank, Master, State, Turn

PROTOCOLS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "variance": "pooled",
                "statistics": "module",
                "loss_average": "edit",
                "master": "float32",
            }
        ),
        "official": MappingProxyType(
            {
                "variance": "released",
                "statistics": "shape",
                "loss_average": "micro-batch",
                "master": "model",
            }
        ),
    }
)
"""Where the paper and the released code differ, option by option."""


@dataclass(frozen=True, kw_only=True)
class UltraEdit:
    """The UltraEdit editor. Its only memory is one `RunningMoments` per module or shape.

    Raises:
        ConfigError: If a number is not positive, or a name is not one of those listed.
    """

    eta: float | Literal["auto"] = 1e-6
    """Scale of the targets; the update is linear in it. Unitless. ``auto`` sets it per module
    on the first turn, so that the update changes the module's output at its own edit tokens by
    `alpha` relative to its size, shared among the modules."""

    ridge: float = 1.0
    """Penalty on the size of the update. Larger writes less. The released code fixes it at 1."""

    protocol: Literal["paper", "official"] = "paper"
    """What the four options below default to."""

    variance: Variance | None = None
    """``pooled`` (paper) is the exact running variance; ``released`` (official) the code's."""

    statistics: Literal["module", "shape"] | None = None
    """One set of statistics per ``module`` (paper), or one for all modules of a weight ``shape``
    (official)."""

    loss_average: Literal["edit", "micro-batch"] | None = None
    """Loss averaged over the tokens of an ``edit`` (paper) or of a ``micro-batch`` (official).
    It sets the relative scale of the gradients of different edits."""

    master: Master | None = None
    """Accumulate in ``float32`` (paper), or in the ``model``'s own dtype, which rounds each
    turn (official). The same for a float32 model."""

    micro_batch: int = 10
    """Edits per micro-batch of the released code. Read by ``loss_average="micro-batch"`` and
    ``variance="released"``; how many edits are computed at once does not depend on it."""

    alpha: float = 0.5
    """Relative change of the outputs that ``eta="auto"`` aims at, on the first turn."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        for name in ("eta", "ridge", "alpha"):
            value = getattr(self, name)
            if name == "eta" and value == "auto":
                continue
            if isinstance(value, str) or not (math.isfinite(value) and value > 0):
                expected = "a positive number or 'auto'" if name == "eta" else "a positive number"
                raise ConfigError(f"{name} must be {expected}, got {value}.")
        if self.micro_batch < 1:
            raise ConfigError(f"micro_batch must be at least 1, got {self.micro_batch}.")
        if self.protocol not in PROTOCOLS:
            raise ConfigError(
                f"protocol must be one of {', '.join(PROTOCOLS)}, got {self.protocol!r}."
            )
        for name, value in PROTOCOLS[self.protocol].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def init(self, host: Host) -> State:
        """Empty statistics for every edited module, or for every weight shape."""
        moments = {
            self._group(host, path): RunningMoments.zeros(shape.d_in + shape.d_out)
            for path, shape in host.modules.items()
        }
        return pack(moments)

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Fold the turn into the statistics, then solve each layer in closed form."""
        signals = host.signals(turn)
        if not signals:
            return Additive({}), state
        features = {path: self._features(signal) for path, signal in signals.items()}
        moments = self._observe(host, signals, features, unpack(state))
        units = {
            path: ridge_update(
                signal.keys,
                self._unit_targets(features[path], moments[self._group(host, path)], signal),
                self.ridge,
                name=path,
            )
            for path, signal in signals.items()
        }
        etas = self._etas(host, signals, units, state)
        changes = {path: _scale(units[path], float(eta)) for path, eta in etas.items()}
        chosen = {f"eta/{path}": eta for path, eta in etas.items()} if self.eta == "auto" else {}
        return Additive(changes), pack(moments) | chosen

    def _group(self, host: Host, path: str) -> str:
        """Name of the statistics that a module belongs to."""
        shape = host.modules[path]
        return path if self.statistics == "module" else f"{shape.d_in}x{shape.d_out}"

    def _features(self, signal: LayerSignal) -> Tensor:
        """Rows z = [h ; g], with g of the chosen average of the loss. (n, d_in + d_out)."""
        unit = signal.segments
        if self.loss_average == "micro-batch":
            unit = unit // self.micro_batch
        tokens = torch.bincount(unit)[unit].unsqueeze(1)  # (n, 1), tokens averaged with each row
        return torch.cat([signal.keys, signal.grads / tokens], dim=1)

    def _observe(
        self,
        host: Host,
        signals: Mapping[str, LayerSignal],
        features: Mapping[str, Tensor],
        moments: dict[str, RunningMoments],
    ) -> dict[str, RunningMoments]:
        """Statistics of all turns up to and including this one (Eq. 2 and 3)."""
        assert self.variance is not None
        moments = {
            name: RunningMoments(*(t.to(next(iter(features.values())).device) for t in value))
            for name, value in moments.items()
        }
        for path, rows in features.items():
            group = self._group(host, path)
            for batch in self._batches(rows, signals[path].segments):
                moments[group] = moments[group].update(batch, self.variance)
        return moments

    def _batches(self, rows: Tensor, segments: Tensor) -> Iterator[Tensor]:
        """What the statistics fold in at once: the turn, or its micro-batches."""
        if self.variance == "pooled":
            yield rows
            return
        _, sizes = torch.unique_consecutive(segments // self.micro_batch, return_counts=True)
        yield from torch.split(rows, sizes.tolist())

    def _unit_targets(
        self, features: Tensor, moments: RunningMoments, signal: LayerSignal
    ) -> Tensor:
        """Wanted change of the layer's outputs for eta = 1 (Eq. 1, 4 and 5). Shape (n, d_out)."""
        assert self.variance is not None
        normalized = moments.normalize(features, self.variance)
        d_in = signal.keys.shape[1]
        keys, grads = normalized[:, :d_in], normalized[:, d_in:]
        return -keys.square().sum(dim=1, keepdim=True) * grads

    def _etas(
        self,
        host: Host,
        signals: Mapping[str, LayerSignal],
        units: Mapping[str, Tensor | LowRank],
        state: State,
    ) -> dict[str, Tensor]:
        """Scale of each module's targets: the option, or what ``auto`` found on the first turn."""
        if self.eta != "auto":
            return {path: torch.tensor(self.eta, dtype=torch.float64) for path in units}
        etas = {path: state[f"eta/{path}"] for path in units if f"eta/{path}" in state}
        share = self.alpha / math.sqrt(len(units))
        for path in units.keys() - etas.keys():
            relative = _relative_output_change(host, path, signals[path], units[path])
            if relative > 0:  # A turn of a single row says nothing yet: the next one decides.
                etas[path] = torch.tensor(share / relative, dtype=torch.float64)
        return etas


def _relative_output_change(
    host: Host, path: str, signal: LayerSignal, update: Tensor | LowRank
) -> float:
    """``rms(h Delta) / rms(h W)`` over the rows of a turn: how much the layer's outputs change."""
    if isinstance(update, LowRank):
        change = (signal.keys @ update.left) @ update.right
    else:
        change = signal.keys @ update
    outputs = signal.keys @ host.weight(path)
    return float(change.norm() / outputs.norm().clamp(min=1e-30))


def _scale(update: Tensor | LowRank, factor: float) -> Tensor | LowRank:
    if isinstance(update, LowRank):
        return LowRank(update.left, update.right * factor)
    return update * factor

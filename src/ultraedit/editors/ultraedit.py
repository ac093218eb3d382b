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

The ablations of the paper's Table 4 are the options `normalise`, `frozen` and `coefficient`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from ultraedit.editors._normalised import (
    Change,
    Normalised,
    Solved,
    follow_protocol,
    require_positive,
)
from ultraedit.errors import ConfigError
from ultraedit.linalg import ridge_update, weighted_ridge_update
from ultraedit.stats import Variance
from ultraedit.types import Additive, Host, LayerSignal, LossTerm, LowRank, Master, State, Turn

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


EXPECTED_EDITS = 500
"""Length of a run up to which the step need not shrink (LOG.md, 2026-11-22)."""

LEAST_LOSS = 1.0
"""Loss in nats that a first turn counts as having, lest facts that the model knows make the step
vanish for the rest of the run."""


@dataclass(frozen=True, kw_only=True)
class UltraEdit(Normalised):
    """The UltraEdit editor. Its only memory is one `RunningMoments` per module or shape.

    Raises:
        ConfigError: If a number is not positive, or a name is not one of those listed.
    """

    eta: float | Literal["auto"] = 1e-6
    """Scale of the targets; the update is linear in it. Unitless. ``auto`` sets it per module
    on the first turn: see `alpha`, `most_drop` and `expected_edits`."""

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
    """With ``eta="auto"``, the relative change of the modules' outputs at the edits' own tokens
    that the first turn aims at, shared among the modules. Larger writes more."""

    most_drop: float = 3.0
    """With ``eta="auto"``, the most that the loss of the first turn may be predicted to drop, to
    first order, as a multiple of the loss itself. Larger writes more."""

    expected_edits: int = EXPECTED_EDITS
    """With ``eta="auto"``, how many edits the run will make. A run fills in its own number. Above
    500 the step shrinks with its square root."""

    retention: float = 0.0
    """Share, from 0 to 1, of the key moments of all earlier turns that joins the solve. Larger
    keeps the oldest edits and writes the newest less. Above 0 the state holds a d_in x d_in matrix
    per module. An addition; 0 is the paper."""

    normalise: float | Literal["off"] = 1.0
    """Ablation: share of the edited modules, drawn at random, whose rows are normalised. The
    others, all of them with ``off``, have the raw [h ; g] as their z_hat."""

    normalise_seed: int = 0
    """Seed of the draw. What a smaller share draws is among what a larger one does."""

    frozen: bool = False
    """Ablation: whether the statistics stay what the first turn made them."""

    coefficient: Literal["norm", "inner"] = "norm"
    """What weighs each row's target: the squared ``norm`` of its normalised input (paper), or,
    an ablation, the ``inner`` product of its raw and its normalised input."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        require_positive(self, "eta", "ridge", "alpha", "most_drop", auto="eta")
        if self.expected_edits < 1:
            raise ConfigError(f"expected_edits must be at least 1, got {self.expected_edits}.")
        if not 0 <= self.retention <= 1:
            raise ConfigError(f"retention must be from 0 to 1, got {self.retention}.")
        if self.normalise != "off" and not 0 < self.normalise <= 1:
            raise ConfigError(
                f"normalise must be a share above 0 and at most 1, or off, got {self.normalise}."
            )
        if self.coefficient not in ("norm", "inner"):
            raise ConfigError(f"coefficient must be norm or inner, got {self.coefficient!r}.")
        follow_protocol(self, PROTOCOLS)

    def observes(self, state: State) -> bool:
        """Whether a turn still changes the statistics: frozen ones have seen a turn before."""
        return not self.frozen or not any(
            int(rows) for name, rows in state.items() if name.endswith("/seen")
        )

    def normalised(self, host: Host) -> Collection[str]:
        """The modules whose rows are normalised: the share, to the nearest, but at least one."""
        if self.normalise == "off":
            return ()
        paths = sorted(host.modules)
        random.Random(self.normalise_seed).shuffle(paths)
        return paths[: max(1, math.floor(self.normalise * len(paths) + 0.5))]

    def unit(self, path: str, keys: Tensor, normalized: Tensor) -> Change:
        """The ridge solution for the targets of eta = 1 (Eq. 5 to 7)."""
        return ridge_update(keys, self.targets(keys, normalized), self.ridge, name=path)

    def units(
        self,
        signals: Mapping[str, LayerSignal],
        normalized: Mapping[str, Tensor],
        carried: Mapping[str, Tensor],
    ) -> dict[str, Change]:
        """Change of each module for a step of 1, held off the keys of earlier turns.

        With the sum P of ``H^T H`` over them, ``Delta = argmin ||H Delta - V||^2
        + ridge ||Delta||^2 + retention tr(Delta^T P Delta)``. Without any, as in the paper.
        """
        return {
            path: self._held(path, signal.keys, normalized[path], carried.get(f"past/{path}"))
            for path, signal in signals.items()
        }

    def _held(self, path: str, keys: Tensor, normalized: Tensor, past: Tensor | None) -> Change:
        if past is None:
            return self.unit(path, keys, normalized)
        moment = self.retention * past.to(keys.device).double()
        moment.diagonal().add_(self.ridge)
        return weighted_ridge_update(keys, self.targets(keys, normalized), moment, 1.0, name=path)

    def kept(self, solved: Solved, carried: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sums of ``H^T H`` over all turns so far, where retention asks for them."""
        if not self.retention:
            return {}
        found = {}
        for path, signal in solved.signals.items():
            moment = signal.keys.T @ signal.keys  # (d_in, d_in)
            earlier = carried.get(f"past/{path}")
            found[f"past/{path}"] = moment if earlier is None else earlier.to(moment) + moment
        return found

    def targets(self, keys: Tensor, normalized: Tensor) -> Tensor:
        """Wanted changes of a module's outputs for eta = 1 (Eq. 5). Shape (n, d_out)."""
        d_in = keys.shape[1]
        h_hat, g_hat = normalized[:, :d_in], normalized[:, d_in:]
        return -self.lengths(keys, h_hat) * g_hat

    def lengths(self, keys: Tensor, h_hat: Tensor) -> Tensor:
        """What weighs each row's target: ``||h_hat||^2``, or ``h . h_hat``. Shape (n, 1)."""
        other = h_hat if self.coefficient == "norm" else keys
        return (other * h_hat).sum(dim=1, keepdim=True)

    def settle(
        self, host: Host, turn: Turn, solved: Solved, paths: Sequence[str]
    ) -> dict[str, Tensor]:
        """Choose the steps that ``eta="auto"`` keeps (docs/design/008).

        Each module's share of `alpha`, then all of them smaller by one factor: the first-order
        drop of the loss within `most_drop` times the loss, and fit for `expected_edits`.
        """
        steps = self.measured(host, solved, paths)
        if not steps:
            return steps
        drop = sum(float(step) * _drop(solved, path) for path, step in steps.items())
        bound = self.most_drop * max(_loss(host, turn), LEAST_LOSS)
        factor = min(1.0, bound / drop) if drop > 0 else 1.0
        factor *= min(1.0, math.sqrt(EXPECTED_EDITS / self.expected_edits))
        return {path: step * factor for path, step in steps.items()}

    def steps(self, units: Mapping[str, Change]) -> dict[str, Tensor] | None:
        """Scale of each module's targets; None where the first turn decides."""
        if self.eta == "auto":
            return None
        return {path: torch.tensor(self.eta, dtype=torch.float64) for path in units}


def _drop(solved: Solved, path: str) -> float:
    """First-order drop of the loss by a step of 1 of one module, in nats.

    ``-<dL/dW, Delta>``, which is ``-sum_i g_i . (h_i Delta)`` over the rows, for the loss averaged
    over the tokens of an edit and over edits.
    """
    signal, unit = solved.signals[path], solved.units[path]
    if isinstance(unit, LowRank):
        change = (signal.keys @ unit.left) @ unit.right  # (n, d_out)
    else:
        change = signal.keys @ unit
    tokens = torch.bincount(signal.segments)[signal.segments]  # (n,)
    rows = (change * signal.grads).sum(dim=1) / tokens
    return -float(rows.sum()) / (int(signal.segments.max()) + 1)


def _loss(host: Host, turn: Turn) -> float:
    """Loss of a turn as the model stands, averaged as in `_drop`. In nats."""
    pairs = tuple((edit.prompt, edit.target) for edit in turn.edits)
    term = LossTerm(pairs, 1.0, "answer", "edit", micro_batch=len(pairs))
    return host.judge(Additive({}), [term])[0].loss

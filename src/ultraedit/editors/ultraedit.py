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

Beyond the paper a turn may be made in several passes (`passes`), each from the weights that the one
before left: docs/design/008.

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

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import ridge_update, weighted_ridge_update
from ultraedit.core.stats import Variance
from ultraedit.core.types import (
    Additive,
    Host,
    LayerSignal,
    LossTerm,
    Master,
    ModuleShape,
    State,
    Turn,
)
from ultraedit.editors.families.normalized import (
    Change,
    Normalized,
    Solved,
    added,
    follow_protocol,
    require_positive,
    scale,
)
from ultraedit.editors.seeds import STATES

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
"""Length of a run that leaves `loss_left` of the loss; the step goes with its inverse root."""

LONGEST_STEP = 2.0
"""Most that the step of a short run may be longer than that of one of `EXPECTED_EDITS`."""

LEAST_LOSS, UNTOLD = 1.0, 0.5
"""Below so many nats the first turn is of facts that the model knows and says nothing of others:
then the share of the largest step is this one."""

LEAST_SHARE, HALVINGS = 1 / 16, 5
"""Where the bisection begins, and how many forward passes it has: to a tenth of the step."""

AUTO_PASSES, PASS_SHARE = 20, 0.3
"""Most passes of ``eta="auto"``, and the share of a single pass's step that each of several has."""

STALLED = 0.98
"""A pass that leaves more of a turn's loss than this share is the turn's last."""


@dataclass(frozen=True, kw_only=True)
class UltraEdit(Normalized):
    """The UltraEdit editor. Its only memory is one `RunningMoments` per module or shape.

    Raises:
        ConfigError: If a number is not positive, or a name is not one of those listed.
    """

    eta: float | Literal["auto"] = 1e-6
    """Scale of the targets; the update is linear in it. Unitless. ``auto`` sets it per module
    on the first turn: see `loss_left`, `alpha`, `expected_edits` and `step_factor`."""

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

    loss_left: float = 0.3
    """With ``eta="auto"``, the share of its loss that the first turn of a run of 500 edits leaves.
    Smaller writes more."""

    alpha: float = 1.0
    """With ``eta="auto"``, the most that the first turn may change the modules' outputs at the
    edits' own tokens, relative to their size, all modules together. Larger may write more."""

    expected_edits: int = EXPECTED_EDITS
    """With ``eta="auto"``, how many edits the run will make. A run fills in its own number. The
    step shrinks with its square root, from twice that of 500 edits on."""

    step_factor: float = 1.0
    """With ``eta="auto"``, a factor of the step that was found. `ultraedit tune` searches it."""

    passes: int | Literal["auto"] = "auto"
    """How often, at most, a turn is gone through, each time from the weights that the time before
    left. ``auto`` is 1, as in the paper, and 20 with ``eta="auto"``. Larger writes more."""

    written: float = 0.3
    """Mean loss per answer token, in nats, at which a turn needs no further pass. With
    ``eta="auto"`` that of a run of up to 125 edits; it grows as the step of longer ones shrinks."""

    retention: float = 0.0
    """Share, from 0 to 1, of the key moments of all earlier turns that joins the solve. Larger
    keeps the oldest edits and writes the newest less. Above 0 the state holds a d_in x d_in matrix
    per module. An addition; 0 is the paper."""

    normalise: float | Literal["off"] = 1.0
    """Ablation: share of the edited modules, drawn at random, whose rows are normalized. The
    others, all of them with ``off``, have the raw [h ; g] as their z_hat."""

    normalise_seed: int = 0
    """Seed of the draw; a run fills in its own. What a smaller share draws is among what a larger
    one does."""

    frozen: bool = False
    """Ablation: whether the statistics stay what the first turn made them."""

    coefficient: Literal["norm", "inner"] = "norm"
    """What weighs each row's target: the squared ``norm`` of its normalized input (paper), or,
    an ablation, the ``inner`` product of its raw and its normalized input."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        require_positive(self, "eta", "ridge", "alpha", "step_factor", auto="eta")
        if not 0 <= self.loss_left < 1:
            raise ConfigError(f"loss_left must be at least 0 and below 1, got {self.loss_left}.")
        if self.passes == "auto":
            object.__setattr__(self, "passes", AUTO_PASSES if self.eta == "auto" else 1)
        elif self.passes < 1:
            raise ConfigError(f"passes must be at least 1, or auto, got {self.passes}.")
        if not self.written >= 0:
            raise ConfigError(f"written must be at least 0 nats, got {self.written}.")
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

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Go through the turn once, or until it is written or no pass writes more of it.

        The statistics see every pass. What retention keeps of a turn are the keys of its last one,
        so that no pass is held off the keys of another.
        """
        assert self.passes != "auto"
        patch, left = super().step(host, turn, state)
        past = {name: tensor for name, tensor in state.items() if name.startswith("past/")}
        loss, enough = math.inf, self.written
        if self.eta == "auto":
            enough *= LONGEST_STEP / self._length
        for _ in range(1, self.passes):
            if not patch.changes:
                break
            earlier, loss = loss, self._loss(host, turn, patch)
            if loss <= enough or loss > STALLED * earlier:
                break
            before = {name: tensor for name, tensor in left.items() if not name.startswith("past/")}
            with host.patched(patch):
                further, left = super().step(host, turn, before | past)
            patch = added(patch, further)
        return patch, left

    def observes(self, state: State) -> bool:
        """Whether a turn still changes the statistics: frozen ones have seen a turn before."""
        return not self.frozen or not any(
            int(rows) for name, rows in state.items() if name.endswith("/seen")
        )

    def normalized_modules(self, host: Host) -> Collection[str]:
        """The modules whose rows are normalized: the share, to the nearest, but at least one."""
        if self.normalise == "off":
            return ()
        paths = sorted(host.modules)
        random.Random(self.normalise_seed % STATES).shuffle(paths)
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
        sums = {}
        for path, signal in solved.signals.items():
            moment = signal.keys.T @ signal.keys  # (d_in, d_in)
            earlier = carried.get(f"past/{path}")
            sums[f"past/{path}"] = moment if earlier is None else earlier.to(moment) + moment
        return sums

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The key moments of earlier turns, where some are kept."""
        if not self.retention:
            return {}
        return {"key moments of earlier turns": 4 * sum(shape.d_in**2 for shape in shapes)}

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

        The largest that `alpha` allows, then all of them smaller by one factor: the one that leaves
        `loss_left` of the loss of this turn, and what `expected_edits` and `step_factor` ask for.
        """
        most = self.measured(host, solved, paths)
        if not most:
            return most
        share = min(1.0, self._share(host, turn, solved, most) * self._length) * self.step_factor
        if self.passes != 1:
            share *= PASS_SHARE
        return {path: step * share for path, step in most.items()}

    @property
    def _length(self) -> float:
        """The step of a run of `expected_edits`, as a multiple of that of one of 500."""
        return min(LONGEST_STEP, math.sqrt(EXPECTED_EDITS / self.expected_edits))

    def _share(self, host: Host, turn: Turn, solved: Solved, most: Mapping[str, Tensor]) -> float:
        """Find the share of the largest steps that leaves `loss_left` of the loss, by bisection.

        Where more is worse the search turns back: the loss is that of the changed model, not its
        first-order part.
        """

        def loss(share: float) -> float:
            changes = {
                path: scale(solved.units[path], share * float(step)) for path, step in most.items()
            }
            return self._loss(host, turn, Additive(changes))

        if not self.loss_left:
            return 1.0
        begun = before = self._loss(host, turn, Additive({}))
        if begun < LEAST_LOSS:
            return UNTOLD
        low, high = LEAST_SHARE, 1.0
        for _ in range(HALVINGS):
            middle = math.sqrt(low * high)
            left = loss(middle)
            if self.loss_left * begun < left < before:
                low, before = middle, left
            else:
                high = middle
        return math.sqrt(low * high)

    def _loss(self, host: Host, turn: Turn, patch: Additive) -> float:
        """Mean loss of a turn's answers in the patched model, averaged per edit first, in nats."""
        pairs = tuple((edit.prompt, edit.target) for edit in turn.edits)
        term = LossTerm(pairs, 1.0, "answer", "edit", micro_batch=len(pairs))
        return host.patch_loss(patch, [term])[0].loss

    def steps(self, units: Mapping[str, Change]) -> dict[str, Tensor] | None:
        """Scale of each module's targets; None where the first turn decides."""
        if self.eta == "auto":
            return None
        return {path: torch.tensor(self.eta, dtype=torch.float64) for path in units}

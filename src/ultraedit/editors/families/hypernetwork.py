"""What MEND, MALMEN and RLEdit have in common: a net between normalized rows and the change.

    [k ; g]_pseudo = blocks(z_hat)          `residual_blocks`: the identity, until it is trained
    Delta          = lr_m unit(h, k_pseudo, g_pseudo)

An untrained editor has no blocks, one ridge for all modules, and the step that ``lr`` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net
from ultraedit.core.stats import Variance
from ultraedit.core.types import (
    Additive,
    Host,
    LayerSignal,
    Master,
    ModuleShape,
    State,
    Tokens,
    Turn,
)
from ultraedit.editors.families.normalized import (
    Change,
    Normalized,
    follow_protocol,
    require_positive,
)
from ultraedit.editors.families.residual_blocks import run_blocks
from ultraedit.editors.families.trained import E, Learned, TrainingRows, with_net

if TYPE_CHECKING:
    from ultraedit.editors.families.fit import Schedule

PROTOCOLS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "variance": "pooled",
                "statistics": "shape",
                "loss_average": "edit",
                "master": "float32",
                "lr": "auto",
            }
        ),
        "official": MappingProxyType(
            {
                "variance": "released",
                "statistics": "shape",
                "loss_average": "micro-batch",
                "master": "model",
                "lr": 1e-6,
            }
        ),
    }
)
"""Where the papers and the released code differ, option by option."""


class Probe(NamedTuple):
    """What a net wants to see of the gradient A (d_in, d_out) at a change: two projections."""

    left: Tensor
    """Gives ``left @ A``. Shape (n, d_in)."""

    right: Tensor | None = None
    """Gives ``right @ A.T``. Shape (n, d_out)."""


class Pulled(NamedTuple):
    """The projections that a `Probe` asked for."""

    left: Tensor
    """``probe.left @ A``. Shape (n, d_out)."""

    right: Tensor | None = None
    """``probe.right @ A.T``. Shape (n, d_in)."""


class Gradient(NamedTuple):
    """Gradient of a loss at what a module's change was made of."""

    pseudo: Tensor
    """At the pseudo keys and gradients. Shape (n, d_in + d_out)."""

    lr: Tensor
    """At the step. Shape ()."""

    log_ridge: Tensor | None = None
    """At the logarithm of the ridge, where there is one. Shape ()."""


@dataclass(frozen=True)
class Recipe:
    """How a net learns: what a turn is judged by, and when the optimizer steps."""

    meta_lr: float
    """Step of Adam."""

    scalar_lr: float
    """Step of Adam for the modules' `lr`."""

    clip: float
    """Largest norm of the gradient of the whole net."""

    drift: float
    """Weight of the drift on unrelated questions."""

    answer: float = 1.0
    """Weight of the answers to the rephrased prompts."""

    turns_per_step: int | None = 1
    """Turns whose gradients add up to a step; None for one step an epoch."""

    clip_each_turn: bool = False
    """Clip the sum so far after every turn, rather than when the optimizer steps."""

    edits_per_turn: int | None = None
    """Edits whose change is predicted together; None leaves it to the user."""

    carry: bool = False
    """Whether a turn's change stays for the turns after it, up to the end of the epoch."""

    depth: int = 1
    """Turns that are judged, the newest included."""

    decay: float = 1.0
    """Factor of the weight from each turn to the one before."""

    reg: float = 0.0
    """Weight of the squared norm of the change."""

    drift_backward: Literal["edited", "reverted"] = "edited"


@dataclass(frozen=True, kw_only=True)
class Hypernetwork(Normalized):
    """Base of the editors with a net.

    Raises:
        ConfigError: If an option cannot be, or there is no net where one is named.
    """

    name: ClassVar[str]
    """The editor's name in the table of editors."""

    training_rows: ClassVar[TrainingRows] = "rest"
    protocols: ClassVar[Mapping[str, Mapping[str, Any]]] = PROTOCOLS
    tokens: ClassVar[Tokens] = "answer"
    clamp_last: ClassVar[bool] = False

    net: str = "untrained"
    """File of the trained net, from `ultraedit train`. Its own step, rank and blocks count then,
    and its own ridge."""

    lr: float | Literal["auto"] | None = None
    """Scale of each module's change, before training. Unitless. ``auto`` (paper) sets it on the
    first turn, so that the change moves the module's output at its own edit tokens by `alpha`
    relative to its size, shared among the modules. Official is 1e-6."""

    protocol: Literal["paper", "official"] = "paper"
    """What the options without a default of their own default to."""

    variance: Variance | None = None
    """Running variance: ``pooled`` (paper) is exact, ``released`` (official) the code's."""

    statistics: Literal["module", "shape"] | None = None
    """One set of statistics per ``module``, or one for all modules of a weight ``shape`` (both)."""

    loss_average: Literal["edit", "micro-batch"] | None = None
    """Loss averaged over the tokens of an ``edit`` (paper) or of a ``micro-batch`` (official)."""

    master: Master | None = None
    """Accumulate in ``float32`` (paper), or in the ``model``'s own dtype (official)."""

    micro_batch: int = 10
    """Edits per micro-batch of the released code."""

    alpha: float = 0.5
    """Relative change of the outputs that ``lr=auto`` aims at, on the first turn."""

    rank: int = 1024
    """Training: inner width of a block of a new net."""

    blocks: int = 4
    """Training: number of blocks of a new net."""

    chunk: int = 1024
    """Training: rows that go through the net at once. Less takes less memory, no other effect."""

    meta_lr: float = 1e-5
    """Training: step of Adam."""

    loc: float = 0.6
    """Training: weight of the drift on unrelated questions, beside 1 for the rephrased ones."""

    clip: float = 1.0
    """Training: largest norm of the gradient of the whole net."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        follow_protocol(self, self.protocols)
        require_positive(self, "lr", "alpha", "meta_lr", "clip", auto="lr")
        for name in ("rank", "blocks", "chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.loc < float("inf"):
            raise ConfigError(f"loc must be a number of at least 0, got {self.loc}.")

    def change(self, path: str, keys: Tensor, pseudo: Tensor, ridge: float) -> Change:
        """A module's change for a step of 1, from raw keys and pseudo keys and gradients."""
        raise TypeError(f"{type(self).__name__} does not say what its change is.")

    def probe(self, keys: Tensor, pseudo: Tensor) -> Probe:
        """What `pull_back` needs of the gradient at the change."""
        raise TypeError(f"{type(self).__name__} cannot be trained.")

    def pull_back(
        self, path: str, keys: Tensor, pseudo: Tensor, pulled: Pulled, lr: float, ridge: float
    ) -> Gradient:
        """Take the gradient at a module's change back to what it was made of, in closed form."""
        raise TypeError(f"{type(self).__name__} cannot be trained.")

    def recipe(self) -> Recipe:
        """How the net learns: a step of Adam a turn."""
        return Recipe(self.meta_lr, self.meta_lr, self.clip, self.loc)

    @cached_property
    def learned(self) -> Learned:
        """Its net: none, until `with_net` gives it one."""
        return Learned(self.name, self.net)

    def with_net(self: E, net: Net, where: str | None = None) -> E:
        """The same editor with a net, from the file `where` or from memory."""
        return with_net(self, net, where)

    def init(self, host: Host) -> State:
        """Empty statistics, or those that the net was trained with."""
        begun = self.learned.begun(host, self)
        return super().init(host) if begun is None else begun

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Do a turn, with the net that the run began with."""
        self.learned.require_same(state)
        return super().step(host, turn, state)

    def remarks(self, host: Host, state: State) -> dict[str, str]:
        """Which net it is."""
        return self.learned.remarks()

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The net."""
        return self.learned.bytes()

    def schedule(self, wanted: Schedule) -> Schedule:
        """The user's, with what the recipe says about turns and about what is best."""
        recipe = self.recipe()
        return replace(
            wanted,
            edits_per_turn=recipe.edits_per_turn or wanted.edits_per_turn,
            depth=recipe.depth,
            drift=recipe.drift,
        )

    def trace(self, host: Host, turn: Turn) -> dict[str, LayerSignal]:
        """What the edited layers see of a turn, at the tokens that this editor looks at."""
        return host.signals(turn, self.tokens)

    def unit(self, path: str, keys: Tensor, normalized: Tensor) -> Change:
        """Change of a module for a step of 1, from its raw keys and its normalized rows."""
        return self.change(path, keys, self.pseudo(path, keys, normalized), self.ridge_of(path))

    def pseudo(self, path: str, keys: Tensor, normalized: Tensor) -> Tensor:
        """Pseudo keys and gradients. Shape (n, d_in + d_out)."""
        if self.learned.net is None:
            return normalized
        d_in = keys.shape[1]
        shape = f"{d_in}x{normalized.shape[1] - d_in}"
        return run_blocks(
            self.learned.net.tensors, path, shape, normalized, clamp_last=self.clamp_last
        )

    def ridge_of(self, path: str) -> float:
        """Penalty of a module, for those that solve a ridge regression."""
        return 1.0

    def steps(self, units: Mapping[str, Change]) -> dict[str, Tensor] | None:
        """Step of each module: learned, the option, or None where the first turn decides."""
        net = self.learned.net
        if net is not None and all(f"modules/{path}/lr" in net.tensors for path in units):
            tensors = net.tensors
            return {path: tensors[f"modules/{path}/lr"].detach() for path in units}
        if self.lr == "auto":
            return None
        return {path: torch.tensor(self.lr, dtype=torch.float64) for path in units}


def halves(keys: Tensor, pseudo: Tensor) -> tuple[Tensor, Tensor]:
    """Split pseudo rows into keys (n, d_in) and gradients (n, d_out)."""
    d_in = keys.shape[1]
    return pseudo[:, :d_in], pseudo[:, d_in:]

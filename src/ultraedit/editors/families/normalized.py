"""What UltraEdit shares with the hypernetworks: lifelong statistics, then a change per layer.

    z      = [h ; g]                 a row per token, as `LayerSignal` has them
    z_hat  = (z - mu) / (sigma + eps)     mu, sigma over all turns so far
    Delta  = step * unit(h, z_hat)

Each editor says what its unit change is. Where its step is ``auto``, the first turn decides.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.stats import RunningCovariance, RunningMoments, Variance, pack, unpack
from ultraedit.core.types import (
    Additive,
    Host,
    LayerSignal,
    LowRank,
    ModuleShape,
    State,
    Turn,
    dense,
)

Change = Tensor | LowRank

Moments = RunningMoments | RunningCovariance

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Solved(NamedTuple):
    """One turn, up to the size of its step."""

    signals: dict[str, LayerSignal]
    normalized: dict[str, Tensor]
    """Rows z_hat by module. Shape (n, d_in + d_out)."""

    units: dict[str, Change]
    """Change of each module for a step of 1. Shape (d_in, d_out)."""

    moments: dict[str, Moments]
    """Statistics of all turns up to and including this one."""


class Normalized:
    """Base of the editors that normalize keys and gradients by statistics of all turns so far."""

    variance: Variance | None
    statistics: Literal["module", "shape"] | None
    loss_average: Literal["edit", "micro-batch"] | None
    micro_batch: int
    alpha: float

    def unit(self, path: str, keys: Tensor, normalized: Tensor) -> Change:
        """Change of a module for a step of 1, from its raw keys and its normalized rows."""
        raise TypeError(f"{type(self).__name__} does not say what its change is.")

    def units(
        self,
        signals: Mapping[str, LayerSignal],
        normalized: Mapping[str, Tensor],
        carried: Mapping[str, Tensor],
    ) -> dict[str, Change]:
        """Change of each module for a step of 1; `carried` is what earlier turns have left."""
        return {
            path: self.unit(path, signal.keys, normalized[path]) for path, signal in signals.items()
        }

    def kept(self, solved: Solved, carried: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What later turns must know of this one beside its statistics."""
        return {}

    def steps(self, units: Mapping[str, Change]) -> dict[str, Tensor] | None:
        """Scale of each module's change; None where the first turn decides."""
        raise TypeError(f"{type(self).__name__} does not say what its step is.")

    def trace(self, host: Host, turn: Turn) -> dict[str, LayerSignal]:
        """What the edited layers see of a turn."""
        return host.signals(turn)

    def observes(self, state: State) -> bool:
        """Whether a turn still changes the statistics."""
        return True

    def normalized_modules(self, host: Host) -> Collection[str]:
        """The modules whose rows are normalized; those of others are taken as they are."""
        return host.modules.keys()

    def init(self, host: Host) -> State:
        """Empty statistics for every edited module, or for every weight shape."""
        moments = {
            self.group(host, path): self.no_rows(shape) for path, shape in host.modules.items()
        }
        return pack(moments)

    def no_rows(self, shape: ModuleShape) -> Moments:
        """Statistics of no rows at all."""
        return RunningMoments.zeros(shape.d_in + shape.d_out)

    def unpack(self, state: Mapping[str, Tensor]) -> dict[str, Moments]:
        """Statistics out of a state."""
        return dict(unpack(state))

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Fold the turn into the statistics, then change each layer."""
        signals, observe = self.trace(host, turn), self.observes(state)
        solved = self.solve(host, signals, self.unpack(state), observe=observe, carried=state)
        if not solved.signals:
            return Additive({}), state
        fixed = self.steps(solved.units)
        steps = self._settled_steps(host, turn, solved, state) if fixed is None else fixed
        changes = {path: scale(solved.units[path], float(step)) for path, step in steps.items()}
        settled = {f"eta/{path}": step for path, step in steps.items()} if fixed is None else {}
        left = pack(solved.moments) | settled | self.kept(solved, state)
        return Additive(changes), dict(state) | left

    def solve(
        self,
        host: Host,
        signals: dict[str, LayerSignal],
        moments: Mapping[str, Moments],
        *,
        observe: bool = True,
        carried: Mapping[str, Tensor] = NOTHING,
    ) -> Solved:
        """Everything of a turn but the size of its step.

        Args:
            host: The model.
            signals: What the layers saw of the turn.
            moments: Statistics of the turns before.
            observe: Whether this turn joins them, before they are used on it.
            carried: The editor's state before the turn.
        """
        if not signals:
            return Solved({}, {}, {}, dict(moments))
        features = {path: self.features(signal) for path, signal in signals.items()}
        updated = dict(moments)
        if observe:
            updated = self.observe(host, signals, features, updated)
        assert self.variance is not None
        chosen = self.normalized_modules(host)
        normalized = {
            path: _beside(rows, updated[self.group(host, path)]).normalize(rows, self.variance)
            if path in chosen
            else rows
            for path, rows in features.items()
        }
        return Solved(signals, normalized, self.units(signals, normalized, carried), updated)

    def group(self, host: Host, path: str) -> str:
        """Name of the statistics that a module belongs to."""
        return path if self.statistics == "module" else shape_name(host, path)

    def features(self, signal: LayerSignal) -> Tensor:
        """Rows z = [h ; g], with g of the chosen average of the loss. (n, d_in + d_out)."""
        unit = signal.segments
        if self.loss_average == "micro-batch":
            unit = unit // self.micro_batch
        if signal.supervised is None:
            tokens = torch.bincount(unit)[unit].unsqueeze(1)  # (n, 1), averaged with each row
        else:
            counts = torch.bincount(unit, weights=signal.supervised.double()).clamp(min=1)
            tokens = counts[unit].unsqueeze(1).to(signal.grads.dtype)
        return torch.cat([signal.keys, signal.grads / tokens], dim=1)

    def observe(
        self,
        host: Host,
        signals: Mapping[str, LayerSignal],
        features: Mapping[str, Tensor],
        moments: Mapping[str, Moments],
    ) -> dict[str, Moments]:
        """Statistics of all turns up to and including this one (UltraEdit, Eq. 2 and 3)."""
        assert self.variance is not None
        updated = dict(moments)
        for path, rows in features.items():
            group = self.group(host, path)
            for batch in self._batches(rows, signals[path].segments):
                updated[group] = _beside(rows, updated[group]).update(batch, self.variance)
        return updated

    def _batches(self, rows: Tensor, segments: Tensor) -> Iterator[Tensor]:
        """What the statistics fold in at once: the turn, or its micro-batches."""
        if self.variance != "released":
            yield rows
            return
        _, sizes = torch.unique_consecutive(segments // self.micro_batch, return_counts=True)
        yield from torch.split(rows, sizes.tolist())

    def _settled_steps(
        self, host: Host, turn: Turn, solved: Solved, state: State
    ) -> dict[str, Tensor]:
        """Steps that earlier turns have settled, and those that this one settles."""
        settled = {path: state[f"eta/{path}"] for path in solved.units if f"eta/{path}" in state}
        open_ = [path for path in solved.units if path not in settled]
        return settled | self.settle(host, turn, solved, open_) if open_ else settled

    def settle(
        self, host: Host, turn: Turn, solved: Solved, paths: Sequence[str]
    ) -> dict[str, Tensor]:
        """Choose the steps of modules from a turn, for the rest of the run."""
        return self.measured(host, solved, paths)

    def measured(self, host: Host, solved: Solved, paths: Iterable[str]) -> dict[str, Tensor]:
        """Steps that change the outputs of the turn's rows by `alpha`, relative to their size.

        The share of a module is ``alpha / sqrt(number of modules)``, so that together they come
        to about `alpha`. A module whose unit change is zero, as on a turn of a single row, is left
        out: a later turn decides.
        """
        share = self.alpha / math.sqrt(len(solved.units))
        relative = {
            path: _relative_output_change(host, path, solved.signals[path], solved.units[path])
            for path in paths
        }
        return {
            path: torch.tensor(share / change, dtype=torch.float64)
            for path, change in relative.items()
            if change > 0
        }


def shape_name(host: Host, path: str) -> str:
    """Name of a module's weight shape, such as ``1536x576``."""
    shape = host.modules[path]
    return f"{shape.d_in}x{shape.d_out}"


def _relative_output_change(host: Host, path: str, signal: LayerSignal, update: Change) -> float:
    """``rms(h Delta) / rms(h W)`` over the rows of a turn: how much the layer's outputs change."""
    if isinstance(update, LowRank):
        change = (signal.keys @ update.left) @ update.right
    else:
        change = signal.keys @ update
    outputs = signal.keys @ host.weight(path)
    return float(change.norm() / outputs.norm().clamp(min=1e-30))


def scale(update: Change, factor: float) -> Change:
    """Multiply a change by a number, leaving it in its factors."""
    if isinstance(update, LowRank):
        return LowRank(update.left, update.right * factor)
    return update * factor


def added(first: Additive, second: Additive) -> Additive:
    """One patch that does what two do, in factors where these are smaller."""
    changes = dict(first.changes)
    for path, change in second.changes.items():
        changes[path] = _sum(changes[path], change) if path in changes else change
    return Additive(changes)


def _sum(first: Change, second: Change) -> Change:
    if isinstance(first, LowRank) and isinstance(second, LowRank):
        left = torch.cat([first.left, second.left], dim=1)
        if left.shape[1] < left.shape[0]:
            return LowRank(left, torch.cat([first.right, second.right]))
    return dense(first) + dense(second)


def require_positive(editor: Any, *names: str, auto: str | None = None) -> None:
    """Check options of an editor that must be positive numbers.

    Args:
        editor: The editor.
        names: Its options.
        auto: The one among them that may also be ``auto``.

    Raises:
        ConfigError: If one of them is not.
    """
    for name in names:
        value = getattr(editor, name)
        if name == auto and value == "auto":
            continue
        if isinstance(value, str) or not (math.isfinite(value) and value > 0):
            expected = "a positive number or 'auto'" if name == auto else "a positive number"
            raise ConfigError(f"{name} must be {expected}, got {value}.")


def follow_protocol(editor: Any, protocols: Mapping[str, Mapping[str, Any]]) -> None:
    """Fill in the options that the protocol decides, and check what comes with them.

    Raises:
        ConfigError: If there is no such protocol, or `micro_batch` is less than 1.
    """
    if editor.micro_batch < 1:
        raise ConfigError(f"micro_batch must be at least 1, got {editor.micro_batch}.")
    if editor.protocol not in protocols:
        raise ConfigError(
            f"protocol must be one of {', '.join(protocols)}, got {editor.protocol!r}."
        )
    for name, value in protocols[editor.protocol].items():
        if getattr(editor, name) is None:
            object.__setattr__(editor, name, value)


def _beside(rows: Tensor, moments: Moments) -> Moments:
    """Statistics on the device of some rows: a model may be spread over several."""
    return type(moments)(*(tensor.to(rows.device) for tensor in moments))

r"""SimIE: what an ideal editor would have written, had it seen all turns at once.

Guo et al., ICML 2025, https://openreview.net/forum?id=VdEG08ZJCH. With Delta the change that
another editor makes to a layer in a turn, K (n, d_in) the layer's inputs at the turn's supervised
tokens, and A the damped second moment of those of all turns so far,

    A      <- A + K^T K                  starting from damping I
    Delta  <- A^-1 K^T (K Delta)

Only what the change does to this turn's inputs is kept, and of that what leaves the inputs of
earlier turns alone: recursive least squares. A^-1 is what is remembered; a turn needs an n x n
system (Woodbury).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import solve_positive_definite
from ultraedit.core.types import (
    Additive,
    Host,
    LayerSignal,
    LowRank,
    ModuleShape,
    State,
    Tokens,
    Turn,
    View,
)
from ultraedit.editors.families.wrapper import Wrapper


@dataclass(frozen=True, kw_only=True)
class SimIE(Wrapper):
    """The SimIE wrapper. It remembers a matrix of d_in x d_in per module.

    Raises:
        ConfigError: If an option is out of its range.
    """

    base: str = "ultraedit"
    """Name of the editor whose changes are taken."""

    damping: float = 1.0
    """What A starts from, times the identity. Larger writes less, above all in early turns. The
    released code has 1e4; good values depend on the length of the layer's inputs."""

    def __post_init__(self) -> None:
        """Check the options and make the wrapped editor."""
        super().__post_init__()
        if not (math.isfinite(self.damping) and self.damping > 0):
            raise ConfigError(f"damping must be a positive number, got {self.damping}.")

    def init(self, host: Host) -> State:
        """The wrapped editor's state, and A^-1 of no turn at all."""
        inverses = {
            f"inverse/{path}": torch.eye(shape.d_in, dtype=torch.float64) / self.damping
            for path, shape in host.modules.items()
        }
        return super().init(host) | inverses

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """What the wrapped editor keeps, and A^-1 of every module."""
        inverses = {"inverses in float64": 8 * sum(shape.d_in**2 for shape in shapes)}
        return super().extra_memory(shapes, edits, itemsize) | inverses

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Have the wrapped editor make its changes, and keep the part that is this turn's own."""
        own = {name: tensor for name, tensor in state.items() if name.startswith("inverse/")}
        rest = {name: tensor for name, tensor in state.items() if name not in own}
        seen = _Once(host)
        patch, rest = self.inner_step(cast("Host", seen), turn, rest)
        changes: dict[str, Tensor | LowRank] = {}
        for path, signal in seen.signals(turn).items():
            keys = signal.keys.double()
            inverse = updated_inverse(own[f"inverse/{path}"].to(keys.device), keys, name=path)
            own[f"inverse/{path}"] = inverse
            if path in patch.changes:
                dtype = signal.keys.dtype
                wanted = _applied(keys, patch.changes[path])  # (n, d_out)
                changes[path] = LowRank((inverse @ keys.T).to(dtype), wanted.to(dtype))
        return Additive(changes), rest | own


def updated_inverse(inverse: Tensor, keys: Tensor, *, name: str = "system") -> Tensor:
    """From A^-1 the inverse of A + K^T K, by Woodbury's identity.

    Args:
        inverse: A^-1, positive definite. Shape (d_in, d_in).
        keys: K. Shape (n, d_in).
        name: What it is of, for messages.
    """
    seen = keys @ inverse  # (n, d_in)
    inner = seen @ keys.T  # (n, n)
    inner.diagonal().add_(1)
    updated = inverse - seen.T @ solve_positive_definite(inner, seen, name=name)
    return (updated + updated.T) / 2


def _applied(keys: Tensor, change: Tensor | LowRank) -> Tensor:
    """What a change does to the outputs of these inputs. Shape (n, d_out)."""
    if isinstance(change, LowRank):
        return (keys @ change.left.to(keys)) @ change.right.to(keys)
    return keys @ change.to(keys)


class _Once:
    """A host that runs a turn once, however often it is asked for its signals."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._seen: dict[Tokens, dict[str, LayerSignal]] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._host, name)

    def signals(self, turn: Turn, tokens: Tokens = "answer") -> dict[str, LayerSignal]:
        """The signals of the turn, from the first time that they were asked for."""
        if tokens not in self._seen:
            self._seen[tokens] = self._host.signals(turn, tokens)
        return self._seen[tokens]

    @contextmanager
    def patched(self, patch: View) -> Iterator[None]:
        """Another model, in which the turn has not been run."""
        seen, self._seen = self._seen, {}
        try:
            with self._host.patched(patch):
                yield
        finally:
            self._seen = seen

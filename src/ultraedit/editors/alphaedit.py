r"""AlphaEdit: null-space constrained knowledge editing.

Fang et al. (2024), https://arxiv.org/abs/2410.02355. States and layers as in `locate_then_edit`.
For each layer P projects onto the directions in which the second moment C of its inputs is small;
with K_p the keys of earlier turns, equation 11 reads, a row per edit,

    (P (K^T K + K_p^T K_p) + ridge I) Delta = P K^T R

Its solution lies in the range of P, so it is the ridge regression

    Delta = argmin ||A Delta - [0 ; R]||^2 + ridge ||Delta||^2      A = [K_p ; K] P

for which the projected keys of all turns, A, are enough. Once there are more of them than the
layer has inputs, d_in rows with the same A^T A take their place.

Differs from the released code: see `locate_then_edit`. P and the sum of K_p^T K_p are never
formed, and `kept` may stand in for an absolute threshold, which depends on the scale of a
model. A text of few tokens blocks few directions; with ``protocol="official"`` as many as are
asked for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import ridge_update
from ultraedit.core.types import Additive, Edit, Host, ModuleShape, SecondMoment, State
from ultraedit.editors.families.locate_then_edit import Change, LocateThenEdit, mean_inputs

logger = logging.getLogger(__name__)

TOKENS_PER_DIRECTION = 10
"""How many tokens of the text it takes to block one direction. Without it a short text, such as the
edits' own prompts, blocks all that it spans, the keys of the edits among it."""

HEALTHY = (0.2, 0.98)
"""Shares of kept directions outside which a warning is due."""


@dataclass(frozen=True, kw_only=True)
class AlphaEdit(LocateThenEdit):
    """The AlphaEdit editor. It remembers the projection and the projected keys of all turns.

    Raises:
        ConfigError: If an option is out of its range.
    """

    ridge: float = 10.0
    """Penalty on the size of the update. Larger writes less. The paper has 1, the code 10."""

    threshold: float | None = None
    """Directions in which the second moment of a layer's inputs is below are free to write in, as
    in the released code. It depends on the scale of the inputs. None lets `kept` decide."""

    kept: float = 0.7
    """Share of the directions that are free to write in, where no threshold is given."""

    projection: Literal["on", "off"] = "on"
    """``off`` leaves the projection out and keeps the memory of earlier keys: the ablation."""

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.threshold is not None and not (
            math.isfinite(self.threshold) and self.threshold > 0
        ):
            raise ConfigError(f"threshold must be a positive number, got {self.threshold}.")
        if not 0 < self.kept <= 1:
            raise ConfigError(f"kept must be above 0 and at most 1, got {self.kept}.")
        if self.projection not in ("on", "off"):
            raise ConfigError(f"projection must be on or off, got {self.projection!r}.")

    def init(self, host: Host) -> State:
        """The contexts, the projection of each layer, and no keys."""
        state = super().init(host)
        for path, shape in host.modules.items():
            if self.projection == "on":
                state[f"{path}/blocked"] = self._blocked(path, host.second_moment(path))
            state[f"{path}/keys"] = torch.zeros(0, shape.d_in)
        return state

    def _blocked(self, path: str, second_moment: SecondMoment) -> Tensor:
        """Orthonormal directions that must not be written in, I - P. Shape (d_in, blocked)."""
        values, vectors = torch.linalg.eigh(second_moment.moment.double())  # ascending
        d_in = len(values)
        if self.threshold is None:
            free = round(self.kept * d_in)
        else:
            free = int((values < self.threshold).sum())
        if self.protocol == "paper":
            free = max(free, d_in - second_moment.tokens // TOKENS_PER_DIRECTION)
        if not HEALTHY[0] * d_in <= free <= HEALTHY[1] * d_in:
            logger.warning(
                "%s: AlphaEdit may write in %d of %d directions, by %d tokens of %s; about 70 %% "
                "are usual. Give a longer text with --corpus, or change `threshold` or `kept`.",
                path,
                free,
                d_in,
                second_moment.tokens,
                second_moment.source,
            )
        blocked: Tensor = vectors[:, free:].float()
        return blocked.contiguous()

    def solve(self, host: Host, path: str, keys: Tensor, residuals: Tensor, state: State) -> Change:
        """Ridge regression on the projected keys of all turns, those of earlier ones unmoved."""
        earlier = state[f"{path}/keys"].to(keys)
        rows = torch.cat([earlier, self._project(path, keys, state)])  # (N, d_in)
        targets = torch.cat([residuals.new_zeros(len(earlier), residuals.shape[1]), residuals])
        return ridge_update(rows, targets, self.ridge, name=path)

    def remember(
        self, host: Host, changes: Mapping[str, Change], edits: Sequence[Edit], state: State
    ) -> State:
        """Add the turn's keys, as the changed model has them."""
        with host.patched(Additive(changes)):
            inputs = mean_inputs(host, list(changes), self.prompts(edits, state))
        new = {}
        for path, keys in inputs.items():
            earlier = state[f"{path}/keys"].to(keys)
            rows = torch.cat([earlier, self._project(path, keys, state)])
            new[f"{path}/keys"] = compacted(rows)
        return state | new

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The second moments, what they block, and the keys of earlier turns."""
        rows = [shape.d_in if edits is None else min(edits, shape.d_in) for shape in shapes]
        keys = sum(n * shape.d_in for n, shape in zip(rows, shapes, strict=True))
        return super().extra_memory(shapes, edits, itemsize) | {
            "directions that must not be written in, at most": 4 * sum(s.d_in**2 for s in shapes),
            "keys of earlier turns, at most": 4 * keys,
        }

    def _project(self, path: str, keys: Tensor, state: State) -> Tensor:
        """``K P``. Shape (n, d_in)."""
        if self.projection == "off":
            return keys
        blocked: Tensor = state[f"{path}/blocked"].to(keys)
        return keys - (keys @ blocked) @ blocked.T

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """How many directions each layer may write in, and which text decided on them."""
        if self.projection == "off":
            return {"null space": "off"}
        second_moment = host.second_moment(next(iter(host.modules)))
        free = [
            f"{shape.d_in - state[f'{path}/blocked'].shape[1]} of {shape.d_in} directions in {path}"
            for path, shape in host.modules.items()
        ]
        return {
            "null space": ", ".join(free),
            "statistics": f"{second_moment.tokens:,} tokens of {second_moment.source}",
        }


def compacted(rows: Tensor) -> Tensor:
    """At most d_in rows with the same ``rows^T rows``: all that later turns read of them.

    Args:
        rows: Shape (N, d_in).

    Returns:
        The rows themselves unless there are more than d_in. Shape (at most d_in, d_in).
    """
    if len(rows) <= rows.shape[1]:
        return rows
    factor: Tensor = torch.linalg.qr(rows.double(), mode="r").R
    return factor.to(rows.dtype)

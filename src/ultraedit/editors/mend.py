r"""MEND, as the lifelong comparisons run it: a trained net, and a sum of outer products.

Mitchell et al., ICLR 2022, https://arxiv.org/abs/2110.11309, with the net of MALMEN, as in the
comparisons of MALMEN, RLEdit and UltraEdit.

One turn, for each edited linear layer m (row = one token of a prompt or answer):

    [k_i ; g_i] = blocks([h_i ; g_i] normalized)
    Delta       = -lr_m sum_i k_i^T g_i
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ultraedit.core.types import Host, LowRank, Tokens
from ultraedit.editors.families.hypernetwork import Gradient, Hypernetwork, Probe, Pulled, halves
from ultraedit.editors.families.hypernetwork_training import Learner


@dataclass(frozen=True, kw_only=True)
class MEND(Hypernetwork):
    """The MEND editor of the lifelong comparisons.

    Raises:
        ConfigError: If an option cannot be, or there is no net where one is named.
    """

    name: ClassVar[str] = "mend"
    tokens: ClassVar[Tokens] = "all"

    rank: int = 1920
    """Training: inner width of a block of a new net."""

    blocks: int = 2
    """Training: number of blocks of a new net."""

    loc: float = 1.0
    """Training: weight of the drift on unrelated questions, beside 1 for the rephrased ones."""

    def change(self, path: str, keys: Tensor, pseudo: Tensor, ridge: float) -> Tensor | LowRank:
        """The sum of pseudo outer products, for a step of 1."""
        k, g = halves(keys, pseudo)
        factors = LowRank(k.T, self.direction() * g)
        return factors if len(k) < min(k.shape[1], g.shape[1]) else factors.dense()

    def direction(self) -> float:
        """Whether the products are taken away (-1) or added (1)."""
        return -1.0

    def learner(self, host: Host, seed: int) -> Learner:
        """Begin a training: of a fresh net, or of the one that there is."""
        return Learner(self, host, seed)

    def probe(self, keys: Tensor, pseudo: Tensor) -> Probe:
        """The gradient at the change is seen through the pseudo keys and gradients."""
        return Probe(*halves(keys, pseudo))

    def pull_back(
        self, path: str, keys: Tensor, pseudo: Tensor, pulled: Pulled, lr: float, ridge: float
    ) -> Gradient:
        """Gradients at k, g and lr: Delta is linear in each."""
        assert pulled.right is not None
        _, g = halves(keys, pseudo)
        sign = self.direction()
        at = torch.cat([pulled.right, pulled.left], dim=1)
        return Gradient(sign * lr * at, sign * (pulled.left * g).sum())

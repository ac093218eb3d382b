r"""MALMEN: a trained net proposes keys and targets, a ridge regression merges them.

Tan, Zhang and Fu, ICLR 2024, https://arxiv.org/abs/2311.04661, sections 3.2 and 3.3.

One turn, for each edited linear layer m (row = one supervised token):

    [k_i ; g_i] = blocks([h_i ; g_i] normalized)
    v_i         = -lr_m (h_i . k_i) g_i
    Delta       = argmin ||H Delta - V||^2 + ridge_m ||Delta||^2

Training takes the gradient A of the loss at Delta back to V and ridge_m in closed form, with
no graph through the language model (`linalg.ridge_gradient`), and from V through the net.

Differs from the released code: the n x n system is solved, not the d_in x d_in one, and A is
only ever seen through the keys, so that nothing of d_in x d_in or d_in x d_out is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ultraedit.core.linalg import ridge_gradient, ridge_update
from ultraedit.core.types import Host, LowRank
from ultraedit.editors.families.hypernetwork import Gradient, Hypernetwork, Probe, Pulled, halves
from ultraedit.editors.families.hypernetwork_training import Learner
from ultraedit.editors.families.normalized import require_positive


@dataclass(frozen=True, kw_only=True)
class MALMEN(Hypernetwork):
    """The MALMEN editor. Defaults of the net are those of the comparisons in UltraEdit's code.

    Raises:
        ConfigError: If an option cannot be, or there is no net where one is named.
    """

    name: ClassVar[str] = "malmen"

    ridge: float = 1.0
    """Penalty on the size of the change, before training. Larger writes less."""

    def __post_init__(self) -> None:
        """Check the options and fill in those that the protocol decides."""
        require_positive(self, "ridge")
        super().__post_init__()

    def change(self, path: str, keys: Tensor, pseudo: Tensor, ridge: float) -> Tensor | LowRank:
        """The ridge solution for a step of 1."""
        k, g = halves(keys, pseudo)
        return ridge_update(keys, -self.lengths(keys, k) * g, ridge, name=path)

    def lengths(self, keys: Tensor, k: Tensor) -> Tensor:
        """What weighs each row's target: ``h . k``. Shape (n, 1)."""
        return (keys * k).sum(dim=1, keepdim=True)

    def ridge_of(self, path: str) -> float:
        """Penalty of a module: learned, or the option."""
        net = self.learned.net
        return self.ridge if net is None else float(net.tensors[f"modules/{path}/log_ridge"].exp())

    def learner(self, host: Host, seed: int) -> Learner:
        """Begin a training: of a fresh net, or of the one that there is."""
        return Learner(self, host, seed)

    def probe(self, keys: Tensor, pseudo: Tensor) -> Probe:
        """The gradient at the change is seen through the raw keys."""
        return Probe(keys)

    def pull_back(
        self, path: str, keys: Tensor, pseudo: Tensor, pulled: Pulled, lr: float, ridge: float
    ) -> Gradient:
        """Gradients at k, g, lr and log ridge, the raw keys being constants (section 3.3)."""
        k, g = halves(keys, pseudo)
        lengths = (keys * k).sum(dim=1, keepdim=True)  # (n, 1)
        unit = -lengths * g
        at = ridge_gradient(keys, lr * unit, pulled.left, ridge, name=path)
        at_k = -lr * (at.targets * g).sum(dim=1, keepdim=True) * keys
        at_g = -lr * lengths * at.targets
        return Gradient(torch.cat([at_k, at_g], dim=1), (at.targets * unit).sum(), at.log_ridge)

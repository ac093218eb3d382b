r"""The activation loss of WISE: how far a memory moves what it is for, and what it is not for.

Wang et al. (2024), https://arxiv.org/abs/2405.14768, equations 4 and 5. With d_in the distance
(`linalg.activation_distances`) of a sequence that the memory is for, d_out of one that it is not
for,

    L_act = mean+(d_out - d_in + gamma) + mean+(d_out - alpha) + mean+(beta - d_in)

where mean+ is the mean over what is positive, as in the released code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ultraedit.core.linalg import Activation, activation_distances
from ultraedit.core.types import Held


class Margins(NamedTuple):
    """What the distances should keep to."""

    alpha: float
    """Most for a sequence that the memory is not for."""
    beta: float
    """Least for one that it is for."""
    gamma: float
    """Least between the two."""


def margin_loss(inside: Tensor, outside: Tensor, margins: Margins) -> Tensor:
    """The activation loss.

    Args:
        inside: Distances of sequences that the memory is for. Shape (m,).
        outside: Of sequences that it is not for. Shape (k,).
        margins: What they should keep to.

    Returns:
        A scalar; zero where all margins are kept.
    """
    between = outside[None, :] - inside[:, None] + margins.gamma
    return (
        positive_mean(between)
        + positive_mean(outside - margins.alpha)
        + positive_mean(margins.beta - inside)
    )


def positive_mean(values: Tensor) -> Tensor:
    """Mean over the positive entries; zero where there are none."""
    positive = values > 0
    return (values * positive).sum() / positive.sum().clamp(min=1)


EVERY = slice(None)


class Side:
    """Held sequences, as a memory sees them."""

    def __init__(
        self,
        held: Held,
        base: Tensor,
        activation: Activation,
        *,
        prompts_only: bool,
        rows: slice = EVERY,
    ) -> None:
        """Compute what does not change while the memory is written.

        Args:
            held: The sequences.
            base: The layer's unedited weight. Shape (d_in, d_out).
            activation: The nonlinearity of the MLP.
            prompts_only: Whether the tokens of answers are left out of the distances.
            rows: Which of the sequences are looked at, as neighbors.
        """
        self._activation = activation
        first, stop, _ = rows.indices(int(held.pairs.max()) + 1)
        chosen = (held.pairs >= first) & (held.pairs < stop)
        if prompts_only:
            chosen &= held.asked
        self.tokens = chosen.nonzero().squeeze(1)
        """Which tokens of the sequences count. Shape (c,)."""
        self.inputs = held.inputs[self.tokens]
        self._bias = held.bias
        self._pairs = held.pairs[self.tokens] - first
        self._sizes = torch.bincount(self._pairs).to(self.inputs.dtype)
        self._before = self.outputs(base)

    def outputs(self, weight: Tensor) -> Tensor:
        """What the layer makes of the tokens with a weight. Shape (c, d_out)."""
        outputs = self.inputs @ weight
        return outputs if self._bias is None else outputs + self._bias

    def distances(self, outputs: Tensor) -> Tensor:
        """How far outputs are from those of the unedited weight, by sequence. Shape (pairs,)."""
        each = activation_distances(self._before, outputs, self._activation)
        total = torch.zeros_like(self._sizes).index_add(0, self._pairs, each)
        return total / self._sizes


def activation_gradient(
    inside: Side, outside: Side, weight: Tensor, margins: Margins
) -> tuple[Tensor, Tensor, Tensor]:
    """The activation loss of a memory, with its gradient.

    Args:
        inside: Sequences that it is for.
        outside: Sequences that it is not for.
        weight: The memory. Shape (d_in, d_out).
        margins: What the distances should keep to.

    Returns:
        The loss, its gradient at the weight, and the mean distance of `inside`.
    """
    outputs = [side.outputs(weight).requires_grad_() for side in (inside, outside)]
    with torch.enable_grad():
        ours = inside.distances(outputs[0])
        loss = margin_loss(ours, outside.distances(outputs[1]), margins)
        grads = torch.autograd.grad(loss, outputs)
    gradient = inside.inputs.T @ grads[0] + outside.inputs.T @ grads[1]
    return loss.detach(), gradient, ours.detach().mean()

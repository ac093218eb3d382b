"""Adam over named tensors, all of whose memory is named tensors too."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8


class Adam:
    """Kingma and Ba (2015), Algorithm 1. What it remembers is `state`."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {"steps": torch.zeros((), dtype=torch.int64)}

    @torch.no_grad()
    def step(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        lr: Callable[[str], float],
    ) -> None:
        """Move the parameters, in place.

        Args:
            parameters: What is trained.
            gradients: Of those that have one.
            lr: Step of a parameter, by its name.
        """
        self.state["steps"] = self.state["steps"] + 1
        steps = int(self.state["steps"])
        for name, gradient in gradients.items():
            first = self.state.setdefault(f"first/{name}", torch.zeros_like(gradient))
            second = self.state.setdefault(f"second/{name}", torch.zeros_like(gradient))
            first.lerp_(gradient, 1 - BETA_1)
            second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
            deviation = (second / (1 - BETA_2**steps)).sqrt_().add_(EPS)
            parameters[name].addcdiv_(first, deviation, value=-lr(name) / (1 - BETA_1**steps))


@torch.no_grad()
def clip(gradients: Mapping[str, Tensor], norm: float) -> float:
    """Shrink gradients, in place, so that they are together no longer than `norm`.

    Returns:
        Their length before.
    """
    squares = [
        torch.linalg.vector_norm(g, dtype=torch.float64).square() for g in gradients.values()
    ]
    length = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    if length > norm:
        for gradient in gradients.values():
            gradient.mul_(norm / length)
    return length

r"""A norm between what an edited layer puts out and the hidden states that it is added to.

Locate-then-edit editors take what a layer puts out for a summand of the hidden states. In Gemma 2
and 3, OLMo 2 and GLM 4 a norm stands between: with x the output of the layer and s the weight of
the norm, s * x / rms(x) is added. The length of x then means nothing, and a move of the hidden
states, in their units, would be hundreds of times as long as x itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultraedit.host.trace.token_states import TokenPlace, values_at

HALVINGS = 60
"""Steps of the bisection: to the precision of a float64."""

ROUNDING = 0.05
"""Largest difference, relative to the largest value, to what the norm is taken for. bfloat16 has
less than 0.01."""


def norm_behind(
    model: nn.Module, layer: nn.Module, name: str, module: nn.Module, place: TokenPlace
) -> nn.Module | None:
    """The norm that reads what a module puts out; None where there is none, as in most models.

    Args:
        model: The language model.
        layer: The decoder layer that the module is in.
        name: Name of the module, for an error.
        module: The module, whose outputs are hidden states.
        place: Any token of any text, to try it on.

    Raises:
        ConfigError: If the model never uses the module.
    """
    norms: dict[str, nn.Module] = {
        path: each for path, each in layer.named_modules() if "Norm" in type(each).__name__
    }
    read = values_at(model, [place], inputs=norms, outputs={name: module})
    for path, norm in norms.items():
        if torch.equal(read[path], read[name]):
            return norm
    return None


@torch.no_grad()
def through_norm(norm: nn.Module, outputs: Tensor, moves: Tensor) -> Tensor:
    r"""What a layer's outputs must change by, so that behind the norm they move as wanted.

    A norm puts out s * u with rms(u) = 1 and nothing else. So we take the nearest to what is
    wanted, t = s * x / rms(x) + move, which by Lagrange's condition is

        u = s t / (s^2 + lambda)

    with lambda >= 0 such that rms(u) = 1; where t is too short for that, u = t / s at its length.
    The outputs keep their length: the change is x' - x with x' = rms(x) u.

    Args:
        norm: The norm, whose weight is s. One that takes off the mean, too, is left out of account.
        outputs: What the layer puts out. Shape (n, d).
        moves: How the hidden states should move. Shape (n, d).

    Returns:
        The change. float32, shape (n, d).
    """
    like = next(norm.parameters())
    ones = torch.ones(1, outputs.shape[1], dtype=like.dtype, device=like.device)
    scale = norm(ones).double().to(outputs.device)  # (1, d)
    x = outputs.double()
    rms = x.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-30)
    added = scale * x / rms
    real = norm(outputs.to(like.dtype).to(like.device)).double().to(outputs.device)
    if float((real - added).abs().max()) > ROUNDING * float(added.abs().max()):
        return moves
    wanted = added + moves
    steepness = (scale * wanted).square().mean(dim=1, keepdim=True).sqrt()
    low, high = torch.zeros_like(steepness), steepness  # rms(u) <= 1 at `high`
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        long = _toward(scale, wanted, middle).square().mean(dim=1, keepdim=True) > 1
        low, high = torch.where(long, middle, low), torch.where(long, high, middle)
    u = _toward(scale, wanted, high)
    u = u / u.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-30)
    return (rms * u - x).float()


def _toward(scale: Tensor, wanted: Tensor, multiplier: Tensor) -> Tensor:
    return scale * wanted / (scale.square() + multiplier).clamp(min=1e-30)

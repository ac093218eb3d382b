"""How far two models' choices of the next token are apart."""

from __future__ import annotations

import torch
from torch import Tensor


def divergence(reference: Tensor, other: Tensor) -> float:
    """Mean Kullback-Leibler divergence ``KL(reference || other)`` over rows, in nats.

    Args:
        reference: Log-probabilities of a model. Shape (n, vocabulary).
        other: Those of another. Same shape.
    """
    reference, other = reference.double(), other.double()
    rows = (reference.exp() * (reference - other)).sum(dim=-1)
    return max(0.0, float(rows.mean()))  # rounding may leave a hair below


def same_choice(reference: Tensor, other: Tensor) -> float:
    """Share of rows whose likeliest token is the same. Shapes (n, vocabulary)."""
    return float((reference.argmax(dim=-1) == other.argmax(dim=-1)).double().mean())


def log_probabilities(logits: Tensor) -> Tensor:
    """Natural logarithms of the probabilities, float32. Shape as the logits'."""
    return torch.log_softmax(logits.float(), dim=-1)

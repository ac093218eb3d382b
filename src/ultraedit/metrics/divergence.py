"""How likely texts are, and how far two models' choices of the next token are apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


def perplexity(log_probabilities: Tensor) -> float:
    """``exp`` of the mean negative log-likelihood per token.

    Args:
        log_probabilities: Natural logarithms, one for each token. Shape (n,), n at least 1.
    """
    return math.exp(-float(log_probabilities.double().mean()))


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


class Window(NamedTuple):
    """A piece of a text: what is read before, and what is scored."""

    begin: int
    """First token that is read."""
    scored: int
    """First token that is scored."""
    end: int
    """Behind the last token that is scored."""


def windows(tokens: int, size: int, stride: int) -> Iterator[Window]:
    """Cut a text so that every token but the first is scored exactly once.

    Args:
        tokens: Tokens of the text.
        size: Most tokens of a window.
        stride: Tokens that a window scores beyond the one before; each of them is read with at
            least ``size - stride`` tokens before it, where there are so many.
    """
    scored = 1
    while scored < tokens:
        end = min(tokens, size if scored == 1 else scored + stride)
        yield Window(max(0, end - size), scored, end)
        scored = end


def log_probabilities(logits: Tensor) -> Tensor:
    """Natural logarithms of the probabilities, float32. Shape as the logits'."""
    return torch.log_softmax(logits.float(), dim=-1)

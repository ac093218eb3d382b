"""What the model says at the answer tokens, forced along the answers that it is given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultraedit.core.encoding import Encoded
from ultraedit.core.types import Observer
from ultraedit.host.trace.signals import passes, supervised_logits
from ultraedit.host.trace.trunk import Trunk


@torch.no_grad()
def top_choices(
    model: nn.Module,
    items: Sequence[Encoded],
    trunk: Trunk | None = None,
    observer: Observer | None = None,
    *,
    keep: bool = True,
) -> list[tuple[int, ...]]:
    """The model's top choice at every supervised position.

    Args:
        model: The language model.
        items: Encoded questions with their answers.
        trunk: What has the states below the lowest edited layer, or computes them once.
        observer: Told of each answer.
        keep: Whether the same will be asked again: then a trunk keeps what lies below.

    Returns:
        Per item as many token ids as its answer has.
    """
    predicted: list[tuple[int, ...]] = [()] * len(items)
    for indices, batch, below in passes(model, items, trunk, keep=keep):
        with below:
            chosen = supervised_logits(model, batch).max(dim=-1).indices.cpu()
        sizes = [len(items[index].answer_ids) for index in indices]
        for index, ids in zip(indices, torch.split(chosen, sizes), strict=True):
            predicted[index] = tuple(ids.tolist())
        if observer is not None:
            observer.advance(len(indices))
    return predicted


@torch.no_grad()
def answer_logits(
    model: nn.Module, items: Sequence[Encoded], trunk: Trunk | None = None
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """The model's logits at every supervised position.

    Args:
        model: The language model.
        items: Encoded questions with their answers.
        trunk: What has the states below the lowest edited layer, or computes them once.

    Yields:
        Batch after batch, the indices of items and their logits: a row for each token of the
        answer. Shape (|answer|, vocabulary).
    """
    for indices, batch, below in passes(model, items, trunk):
        with below:
            logits = supervised_logits(model, batch)
        yield indices, list(torch.split(logits, [len(items[i].answer_ids) for i in indices]))


@torch.no_grad()
def mean_loss(model: nn.Module, items: Sequence[Encoded], trunk: Trunk | None = None) -> float:
    """Mean cross-entropy of all supervised tokens together, in nats. NaN counts as infinite.

    Args:
        model: The language model.
        items: Encoded prompts with what follows them.
        trunk: What has the states below the lowest edited layer, or computes them once.
    """
    total, tokens = 0.0, 0
    for _, batch, below in passes(model, items, trunk):
        with below:
            logits = supervised_logits(model, batch).float()
        labels = batch.labels.to(logits.device)
        total += float(F.cross_entropy(logits, labels, reduction="sum"))
        tokens += len(labels)
    return math.inf if math.isnan(total) else total / tokens

r"""Search, for many edits at once, the offset at one token that makes the model say the target.

Meng et al. (2022), https://arxiv.org/abs/2210.07229, section 4.3.2. For each edit, with h the
output of a decoder layer at its lookup token and delta an offset added to it,

    loss = mean over prompts of -1/T sum_t log p(target_t)
         + kl KL(p_0 || p_delta) after the essence text, or KL(p_delta || p_0)
         + weight_decay ||delta|| / ||h||^2

Edits share batches and nothing else: each has its own Adam moments, its own stop and its own ball.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ultraedit.core.errors import NumericalError
from ultraedit.core.types import Offsets, OffsetSearch
from ultraedit.host.trace.prefix_cache import (
    Frozen,
    PrefixedRow,
    Resumable,
    Upper,
    resumable_batches,
)

AT_ONCE = 128
"""Edits that are searched together. What is frozen of them is kept in memory: for SmolLM2 about
4 MiB each, for a model of 7B 20 MiB."""

BETAS, EPS = (0.9, 0.999), 1e-8
"""Adam's constants, at their usual values."""


class Goal(NamedTuple):
    """What an offset should bring about, for one edit. Each row begins at its lookup token."""

    prompts: tuple[PrefixedRow, ...]
    """Prompts with the target as their answer. The first is the plain one, where h is taken."""

    essence: PrefixedRow
    """A text that ends at the lookup token, with any one answer token, which is not read."""


def search_offsets(upper: Upper, goals: Sequence[Goal], search: OffsetSearch) -> Offsets:
    """Search the offsets of edits.

    Args:
        upper: The model above the layer that the offsets are added to.
        goals: What each should bring about.
        search: How to search.

    Returns:
        The layer's outputs and the offsets, a row per goal.

    Raises:
        NumericalError: If a loss is not finite.
    """
    parts = [
        _Search(upper, goals[start : start + AT_ONCE], search).run()
        for start in range(0, len(goals), AT_ONCE)
    ]
    return Offsets(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


class _Search:
    """The search for some edits, all at the same step."""

    def __init__(self, upper: Upper, goals: Sequence[Goal], search: OffsetSearch) -> None:
        self.upper = upper
        self.search = search
        self.frozen: list[Frozen] = upper.freeze(
            [row for goal in goals for row in (*goal.prompts, goal.essence)]
        )
        self.owners = [
            owner for owner, goal in enumerate(goals) for _ in (*goal.prompts, goal.essence)
        ]
        # The weight of a row's loss in that of its edit; None for the essence.
        self.weights = [
            weight
            for goal in goals
            for weight in (*[1 / len(goal.prompts)] * len(goal.prompts), None)
        ]
        firsts = [self.owners.index(owner) for owner in range(len(goals))]
        self.outputs = torch.stack([self.frozen[row].outputs[0].float() for row in firsts])
        self.norms = self.outputs.norm(dim=1)  # (n,)
        self.unedited: dict[int, Tensor] = {}
        """By essence row its log-probabilities without an offset. Shape (vocabulary,)."""

    def run(self) -> Offsets:
        """Descend until every edit has stopped."""
        delta = torch.zeros_like(self.outputs)
        first, second = torch.zeros_like(delta), torch.zeros_like(delta)  # Adam's moments
        steps = torch.zeros(len(delta), dtype=torch.long)
        losses = torch.zeros(len(delta))
        active = torch.ones(len(delta), dtype=torch.bool)
        batches = self._batches(active)
        # As in the released code the last loss is looked at and not descended from.
        for step in range(1, self.search.steps):
            latest, gradient = self._evaluate(batches, delta)
            losses = torch.where(active, latest, losses)
            stopped = active & (losses < self.search.stop)
            if bool(stopped.any()):
                active = active & ~stopped
                batches = self._batches(active)
            if not bool(active.any()):
                break
            moving = active.to(delta.device).unsqueeze(1)
            first = torch.where(moving, BETAS[0] * first + (1 - BETAS[0]) * gradient, first)
            second = torch.where(
                moving, BETAS[1] * second + (1 - BETAS[1]) * gradient.square(), second
            )
            scale = (second / (1 - BETAS[1] ** step)).sqrt() + EPS
            moved = delta - self.search.lr * (first / (1 - BETAS[0] ** step)) / scale
            delta = torch.where(moving, self._within_ball(moved), delta)
            steps += active
        return Offsets(self.outputs, delta, losses, steps)

    def _within_ball(self, delta: Tensor) -> Tensor:
        """Shorten offsets that are longer than `clamp` times the output that they are added to."""
        most = self.search.clamp * self.norms
        factor: Tensor = (most / delta.norm(dim=1).clamp(min=1e-30)).clamp(max=1)
        return delta * factor.unsqueeze(1)

    def _batches(self, active: Tensor) -> list[tuple[list[int], Resumable]]:
        """The rows of the edits that have not stopped, in batches."""
        rows = [row for row, owner in enumerate(self.owners) if active[owner]]
        return [
            ([rows[i] for i in indices], batch)
            for indices, batch in resumable_batches(
                self.upper.model, [self.frozen[row] for row in rows]
            )
        ]

    def _evaluate(
        self, batches: Sequence[tuple[list[int], Resumable]], delta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Losses of all edits, shape (n,), on the CPU, and their gradients, shape (n, d)."""
        leaf = delta.clone().requires_grad_()
        losses = torch.zeros(len(delta))
        for rows, batch in batches:
            owners = torch.tensor([self.owners[row] for row in rows])
            with torch.enable_grad():
                start = batch.outputs[:, 0].float() + leaf[owners.to(leaf.device)]
                outputs = torch.cat(
                    [start.to(batch.outputs.dtype).unsqueeze(1), batch.outputs[:, 1:]], dim=1
                )
                logits = self.upper.logits(batch, outputs).float()
                batch_losses = self._row_losses(rows, batch, torch.log_softmax(logits, dim=-1))
                torch.autograd.backward(batch_losses.sum())
            losses.index_add_(0, owners, batch_losses.detach().cpu())
        assert leaf.grad is not None
        length = delta.norm(dim=1)
        pull = self.search.weight_decay / self.norms.square()
        losses += (pull * length).cpu()
        if not bool(torch.isfinite(losses).all()):
            raise NumericalError(
                "The loss of an edit is not finite. If earlier turns were applied, the model has "
                "collapsed; otherwise lower `lr` or `clamp`, or use float32."
            )
        direction = delta / length.clamp(min=1e-30).unsqueeze(1)
        return losses, leaf.grad + pull.unsqueeze(1) * direction

    def _row_losses(self, rows: Sequence[int], batch: Resumable, logs: Tensor) -> Tensor:
        """Each row's share of the loss of its edit. Shape (rows,).

        Args:
            rows: Which rows the batch holds.
            batch: The batch.
            logs: Log-probabilities at its supervised positions. Shape (n, vocabulary).
        """
        # The head may be on another device than the embeddings, where the batch is.
        owners, labels = batch.rows.to(logs.device), batch.labels.to(logs.device)
        counts = torch.bincount(owners, minlength=len(rows))
        chosen = -logs.gather(1, labels.unsqueeze(1)).squeeze(1) / counts[owners]
        nll = logs.new_zeros(len(rows)).index_add(0, owners, chosen)  # (rows,)
        losses = []
        first = 0  # of the row's supervised positions; to ask the batch would make a GPU wait
        for place, row in enumerate(rows):
            at, first = first, first + len(self.frozen[row].row.item.answer_ids)
            weight = self.weights[row]
            if weight is not None:
                losses.append(weight * nll[place])
                continue
            now = logs[at]  # (vocabulary,); an essence has one supervised position
            before = self.unedited.setdefault(row, now.detach().clone())
            one, other = (before, now) if self.search.kl_from == "unedited" else (now, before)
            losses.append(self.search.kl * (one.exp() * (one - other)).sum())
        return torch.stack(losses)

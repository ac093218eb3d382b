r"""FT: fine-tuning of the edited weights by Adam, once per turn.

Three rows of the table of editors share this class; see `docs/editors.md`.

    loss    = 1/b sum_i 1/T_i sum_j -log p(t_ij | prompt_i, what the objective shows of t_i)
    W      <- Adam(W, dloss/dW)
    W      <- clamp(W, W_start - epsilon, W_start + epsilon)        where there is a constraint

FT-L is the constrained fine-tuning of Zhu et al. (2020), https://arxiv.org/abs/2012.00363, section
4, as ROME and MEMIT have made it the baseline: all answer tokens are wanted at the last token of
the prompt, and with ``protocol="official"`` the special tokens and the padding with which those
codes tokenize the answers. FT-M (EasyEdit) is the same with teacher forcing. FT-BF is that of
Yang et al. (2025), https://arxiv.org/abs/2509.22072, section 3: mini-batches drawn anew every
epoch, and an end token.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive, Edit, Host, ModuleShape, State, SupervisedAt, Turn
from ultraedit.editors.seeds import derived


@dataclass(frozen=True, kw_only=True)
class FT:
    """Fine-tuning. It remembers nothing: every turn starts a fresh optimizer.

    Raises:
        ConfigError: If a number is out of its range.
    """

    lr: float = 5e-4
    """Learning rate of Adam: about how far each weight moves per step. Larger writes more."""

    epochs: int = 25
    """Most passes over the edits of a turn."""

    batch_size: int = 1
    """Edits per step of the optimizer. Larger batches take fewer and calmer steps."""

    objective: Literal["answer", "last-prompt"] = "answer"
    """Teacher forcing (answer), or all answer tokens at the last token of the prompt
    (last-prompt), which is right for answers of one token only."""

    protocol: Literal["paper", "official"] = "paper"
    """What ``last-prompt`` wants: the answer's tokens (paper), or what the released codes do
    (official), which have the tokenizer's special tokens, such as a BOS, and the padding of a
    batch among them."""

    shuffle: bool = False
    """Whether the edits are drawn into new batches every epoch."""

    seed: int = 0
    """What they are drawn from. A run fills in its own."""

    end_token: bool = False
    """Whether the answer ends in the tokenizer's end-of-text token, so that the model learns to
    stop after it."""

    weight_decay: float = 0.0
    """Pull of every weight to zero, as Adam's L2 term. Unitless."""

    norm_constraint: float | None = None
    """Most that a weight may differ from its value at the start of the turn; without limit if
    not given. Smaller protects other answers and writes less."""

    stop_loss: float = 1e-2
    """Nats per answer token below which a batch is skipped, and, as the mean of an epoch, the
    turn ends."""

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("lr", "norm_constraint"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, got {value}.")
        for name in ("weight_decay", "stop_loss"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be zero or a positive number, got {value}.")
        if self.protocol not in ("paper", "official"):
            raise ConfigError(f"protocol must be paper or official, got {self.protocol!r}.")
        if self.protocol == "official" and self.objective == "answer":
            raise ConfigError(
                "protocol=official is of the objective last-prompt, that is of ft-l: with "
                "objective=answer the released code wants the same. Leave the protocol out."
            )
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")

    def init(self, host: Host) -> State:
        """Nothing to remember."""
        return {}

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """Where a turn begins, where it is, its gradient, two moments of Adam, and the change."""
        size = sum(shape.d_in * shape.d_out for shape in shapes)
        return {"float32 copies of the edited weights": 6 * 4 * size}

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Fine-tune copies of the edited weights on a turn, and return how far they moved."""
        if not turn.edits:
            return Additive({}), state
        start = {path: host.weight(path).clone() for path in host.modules}
        weights = {path: weight.clone() for path, weight in start.items()}
        adam = torch.optim.Adam(weights.values(), lr=self.lr, weight_decay=self.weight_decay)
        order = random.Random(derived(self.seed, turn.number))
        for _ in range(self.epochs):
            losses: list[float] = []
            for batch in self._batches(turn, order):
                losses += self._descend(host, batch, weights, adam)
                self._constrain(weights, start)
            if sum(losses) / len(losses) < self.stop_loss:
                break
        return Additive({path: weights[path] - start[path] for path in weights}), state

    def _batches(self, turn: Turn, order: random.Random) -> Iterator[tuple[Edit, ...]]:
        """The edits of a turn, once each."""
        edits = list(turn.edits)
        if self.shuffle:
            order.shuffle(edits)
        for first in range(0, len(edits), self.batch_size):
            yield tuple(edits[first : first + self.batch_size])

    def _descend(
        self,
        host: Host,
        edits: tuple[Edit, ...],
        weights: Mapping[str, Tensor],
        adam: torch.optim.Optimizer,
    ) -> list[float]:
        """One step on a batch, unless it is learned already. The losses before it, per edit."""
        at: SupervisedAt = self.objective
        if self.protocol == "official":
            at = "last-prompt-released"
        result = host.weight_gradients(edits, weights, at=at, end_token=self.end_token)
        if float(result.losses.mean()) >= self.stop_loss:
            for path, weight in weights.items():
                weight.grad = result.grads[path].to(weight)
            adam.step()
        losses: list[float] = result.losses.tolist()
        return losses

    @torch.no_grad()
    def _constrain(self, weights: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> None:
        """Keep every weight within the constraint around its start."""
        if self.norm_constraint is None:
            return
        for path, weight in weights.items():
            low, high = start[path] - self.norm_constraint, start[path] + self.norm_constraint
            weight.copy_(weight.clamp(low, high))

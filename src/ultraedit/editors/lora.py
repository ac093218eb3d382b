r"""LoRA: fine-tuning of low-rank factors, which is what a user would do instead of editing.

Hu et al. (2021), https://arxiv.org/abs/2106.09685, section 4.1, as the library peft has it. For
each edited linear layer, with weights stored as (d_in, d_out):

    W        = W_0 + alpha / rank * A B           A (d_in, rank), B (rank, d_out)
    A, B     = uniform in +-1 / sqrt(d_in), 0     at the start
    loss     = mean over texts of the mean cross-entropy of their answer tokens
    A, B    <- Adam(dloss/dA, dloss/dB)           per batch, in an order drawn anew every epoch

A text is a fact in one form, plain or chat, with the token that ends its answer, so that the two
can be compared with the editor `anchored`, which writes the same texts. With G = dloss/d(outputs)
and H the inputs, both with a row per token, the factors' gradients need no matrix of the size
of W:

    dloss/dA = alpha / rank * H^T (G B^T)         dloss/dB = alpha / rank * (H A)^T G

`replay` says what a turn is trained on: its own facts, the adapter going on from the turn before
(``none``), or all facts so far, with an adapter that begins anew on the unedited model (``all``).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive, Edit, Encoded, Host, LowRank, ModuleShape, State, Turn
from ultraedit.editors.anchored import FORMS
from ultraedit.editors.families.normalized import require_positive
from ultraedit.editors.seeds import derived


class Factors(NamedTuple):
    """The adapter of one layer."""

    down: Tensor
    """A. float32, shape (d_in, rank)."""

    up: Tensor
    """B. float32, shape (rank, d_out)."""


Adapter = dict[str, Factors]
"""Factors by module path."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """LoRA fine-tuning. It remembers the adapter, and with ``replay=all`` every fact.

    Raises:
        ConfigError: If a number is out of its range, or a name is not one of those listed.
    """

    replay: Literal["none", "all"] = "none"
    """What a turn is trained on: its own facts (none), or all facts so far, from the unedited
    model (all), which takes longer with every turn."""

    form: Literal["plain", "chat", "both"] = "both"
    """How facts are written: the prompt as it is, as a user's question in the model's chat
    template, or both, where the model has a template."""

    rank: int = 16
    """Rank of the factors. Larger has room for more facts."""

    alpha: float = 32.0
    """The factors' product is multiplied by ``alpha / rank``. Larger writes more per step."""

    lr: float = 5e-4
    """Learning rate of Adam. Larger writes more and disturbs more."""

    epochs: int = 20
    """Most passes over the texts of a turn."""

    batch_size: int = 10
    """Texts per step of the optimizer. Larger batches take fewer and calmer steps."""

    stop_loss: float = 0.1
    """Nats per answer token: a turn ends when the mean of an epoch is below. Smaller writes more
    and disturbs more."""

    weight_decay: float = 0.0
    """Pull of the factors to zero, decoupled from the gradient as in AdamW. Unitless."""

    seed: int = 0
    """What the factors and the order of the texts are drawn from. A run fills in its own."""

    def __post_init__(self) -> None:
        """Check the options."""
        require_positive(self, "alpha", "lr")
        for name in ("rank", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("stop_loss", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be zero or a positive number, got {value}.")
        if self.form not in FORMS:
            raise ConfigError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}.")
        if self.replay not in ("none", "all"):
            raise ConfigError(f"replay must be none or all, got {self.replay!r}.")

    @property
    def scale(self) -> float:
        """What the product of the factors is multiplied by."""
        return self.alpha / self.rank

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The factors where they begin and where they are, a gradient, and two moments of Adam."""
        numbers = sum(shape.d_in + shape.d_out for shape in shapes) * self.rank
        return {"copies of the low-rank factors": 6 * 4 * numbers}

    def init(self, host: Host) -> State:
        """No adapter and no facts."""
        return {"facts": _pack(())} if self.replay == "all" else {}

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Train the adapter, and return how far it moves the weights from where they are."""
        if not turn.edits:
            return Additive({}), state
        before = _unpack_adapter(state)
        if self.replay == "all":
            facts = torch.cat([state["facts"], _pack(turn.edits)])
            adapter, edits, kept = self._fresh(host), _unpack(facts), {"facts": facts}
        else:
            adapter, edits, kept = before or self._fresh(host), list(turn.edits), {}
        texts = host.texts(edits, FORMS[self.form])
        # Turns of the same length draw different orders; all facts at once draw what turns would.
        order = random.Random(derived(self.seed, len(edits) if kept else turn.number))
        trained = self._train(host, texts, adapter, before, order)
        return self._move(trained, before), kept | _pack_adapter(trained)

    def _fresh(self, host: Host) -> Adapter:
        """Factors as peft begins with them: A of Kaiming's uniform draw with a = sqrt(5), B zero.

        They are drawn on the CPU, so that every device begins with the same.
        """
        generator = torch.Generator().manual_seed(derived(self.seed, 0))
        adapter = {}
        for path, (d_in, d_out) in host.modules.items():
            bound = 1 / math.sqrt(d_in)
            down = torch.empty(d_in, self.rank).uniform_(-bound, bound, generator=generator)
            device = host.weight(path).device
            adapter[path] = Factors(down.to(device), torch.zeros(self.rank, d_out, device=device))
        return adapter

    @torch.no_grad()
    def _train(
        self,
        host: Host,
        texts: Sequence[Encoded],
        start: Adapter,
        before: Adapter,
        order: random.Random,
    ) -> Adapter:
        """Go through the texts in batches until they are written or the epochs are over."""
        adapter = {
            path: Factors(each.down.clone(), each.up.clone()) for path, each in start.items()
        }
        adam = torch.optim.AdamW(
            [factor for each in adapter.values() for factor in each],
            lr=self.lr,
            weight_decay=self.weight_decay,
        )
        for _ in range(self.epochs):
            losses: list[float] = []
            for batch in self._batches(texts, order):
                losses += self._descend(host, batch, adapter, before, adam)
            if sum(losses) / len(losses) < self.stop_loss:
                break
        return adapter

    def _batches(self, texts: Sequence[Encoded], order: random.Random) -> Iterator[list[Encoded]]:
        """The texts once each, in an order of their own."""
        drawn = list(texts)
        order.shuffle(drawn)
        for first in range(0, len(drawn), self.batch_size):
            yield drawn[first : first + self.batch_size]

    def _descend(
        self,
        host: Host,
        batch: Sequence[Encoded],
        adapter: Adapter,
        before: Adapter,
        adam: torch.optim.Optimizer,
    ) -> list[float]:
        """One step of the optimizer. The losses before it, per text."""
        traced = host.trace_texts(batch, patch=self._move(adapter, before))
        share = self.scale / len(batch)
        for path, (down, up) in adapter.items():
            keys, grads = (each.to(down) for each in traced.signals[path][:2])
            down.grad = keys.T @ (grads @ up.T) * share  # (d_in, rank)
            up.grad = (keys @ down).T @ grads * share  # (rank, d_out)
        adam.step()
        losses: list[float] = traced.losses.tolist()
        return losses

    def _move(self, adapter: Adapter, before: Adapter) -> Additive:
        """What takes the weights from one adapter to another: of both their ranks."""
        changes = {}
        for path, (down, up) in adapter.items():
            if path in before:
                old = before[path]
                down = torch.cat([down, old.down.to(down)], dim=1)
                up = torch.cat([up, -old.up.to(up)])
            changes[path] = LowRank(down, up * self.scale)
        return Additive(changes)


def _pack_adapter(adapter: Adapter) -> dict[str, Tensor]:
    """An adapter as named tensors."""
    packed: dict[str, Tensor] = {}
    for path, each in adapter.items():
        packed |= {f"down/{path}": each.down, f"up/{path}": each.up}
    return packed


def _unpack_adapter(state: State) -> Adapter:
    """The adapter that a state has; empty before the first turn."""
    paths = [name.removeprefix("down/") for name in state if name.startswith("down/")]
    return {path: Factors(state[f"down/{path}"], state[f"up/{path}"]) for path in paths}


def _pack(edits: Sequence[Edit]) -> Tensor:
    """Facts as bytes, a line of JSON each. uint8, shape (bytes,)."""
    rows = ([edit.target, edit.prompt, *edit.also] for edit in edits)
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    return torch.tensor(bytearray(text.encode()), dtype=torch.uint8)


def _unpack(facts: Tensor) -> list[Edit]:
    """The facts of `_pack`; of two with the same prompt the newer one holds."""
    held: dict[str, Edit] = {}
    for line in bytes(facts.cpu().numpy()).splitlines():  # Of bytes: texts may break lines too.
        target, prompt, *also = json.loads(line)
        held.pop(prompt, None)
        held[prompt] = Edit(prompt, target, also=tuple(also))
    return list(held.values())

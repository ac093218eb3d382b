"""Sequences held at one layer: what is below runs once, what is above runs with other weights.

An editor that descends on the weight of a single layer runs the same few sequences dozens of times.
Everything below that layer's block is the same each time and comes from the frozen trunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Batch, Encoded, Together
from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.host.trace.gradients import edit_losses
from ultraedit.host.trace.signals import attended, batches, supervised_logits
from ultraedit.host.trace.trunk import Trunk


class _Pass(NamedTuple):
    """One batch, and where it begins."""

    indices: list[int]
    batch: Batch
    states: list[Tensor] | None
    """Hidden states at the layer's block; None runs the whole model."""
    tokens: Tensor
    """Tokens of the flattened batch that are no padding. Shape (m,)."""


class HeldRows:
    """What `types.Held` promises, over a language model."""

    def __init__(
        self,
        model: nn.Module,
        module: nn.Module,
        items: Sequence[Encoded],
        trunk: Trunk | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """Run the items up to the layer.

        Args:
            model: The language model, its weights frozen.
            module: The edited linear layer.
            items: Encoded pairs. At least one.
            trunk: What lies below the layer's block; None runs the whole model each time.
            keep: Whether the same items will be held again.

        Raises:
            ConfigError: If the layer is not reached, or sees only a part of the tokens.
        """
        self._model, self._module, self._trunk = model, module, trunk
        self._answers = [item.answer_ids for item in items]
        self._counted = len(items)
        self._passes = list(self._begin(items, keep=keep))
        self.longest = max(len(item) + 1 for item in items)
        self._look()

    def _look(self) -> None:
        """Read the layer's inputs, and say what each of them is."""
        module = self._module
        self.inputs = torch.cat([self._read(each) for each in self._passes])
        device = self.inputs.device
        owners, asked = [], []
        for each in self._passes:
            length = each.batch.input_ids.shape[1]
            owners.append(torch.tensor(each.indices)[each.tokens.cpu() // length])
            asked.append(each.batch.asked.flatten()[each.tokens])
        self.pairs = torch.cat(owners).to(device)
        self.asked = torch.cat(asked).to(device)
        bias = getattr(module, "bias", None)
        self.bias = None if bias is None else _wide(bias.detach())

    def _losses(self, logits: Tensor, each: _Pass) -> Tensor:
        """Loss of each pair of a batch. Shape (pairs of the batch,)."""
        return edit_losses(logits, each.batch, [self._answers[index] for index in each.indices])

    def gradients(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Losses, and what the layer's outputs should have been, with another weight.

        Args:
            weight: What the layer has for this call. Shape (d_in, d_out).

        Returns:
            Mean cross-entropy over the answer tokens of each pair, in nats, shape (pairs,); and
            the gradients of the mean of these at the layer's outputs, float32, shape (n, d_out).

        Raises:
            NumericalError: If a loss is not finite.
        """
        losses = torch.zeros(len(self._answers), dtype=self.inputs.dtype, device=weight.device)
        grads = []
        for each in self._passes:
            with torch.enable_grad(), self._weighing(weight) as outputs, self._below(each):
                own = self._losses(supervised_logits(self._model, each.batch), each)
                (grad,) = torch.autograd.grad(own.sum() / self._counted, outputs)
            losses[each.indices] = own.detach().to(losses)
            grads.append(_wide(grad.reshape(-1, grad.shape[-1])[each.tokens.to(grad.device)]))
        if not bool(torch.isfinite(losses).all()):
            raise NumericalError(
                "The loss of an edit is not finite: the memory has collapsed. Lower `edit_lr`, or "
                "use float32."
            )
        return losses[: self._counted], torch.cat(grads)

    @torch.no_grad()
    def _begin(self, items: Sequence[Encoded], *, keep: bool) -> Iterator[_Pass]:
        trunk, states = self._trunk, None
        if trunk is not None and (keep or trunk.hold is not None):
            states = trunk.states(items, keep=keep)
        for indices, batch in batches(self._model, items):
            held = None if states is None else [states[index] for index in indices]
            if trunk is not None and held is None:
                # One batch as it is: a trunk's own are cut by length, so that they can be kept.
                held = trunk.states_of(batch)
            yield _Pass(indices, batch, held, attended(batch))

    def _below(self, each: _Pass) -> AbstractContextManager[None]:
        if each.states is None or self._trunk is None:
            return nullcontext()
        return self._trunk.feeding(each.states, each.batch.positions)

    @torch.no_grad()
    def _read(self, each: _Pass) -> Tensor:
        """The layer's inputs at the tokens of a batch. Shape (m, d_in)."""
        seen: list[Tensor] = []

        def read(_: nn.Module, args: tuple[Any, ...]) -> None:
            seen.append(args[0])
            raise _ReadEnough

        handle = self._module.register_forward_pre_hook(read)
        try:
            with suppress(_ReadEnough), self._below(each):
                supervised_logits(self._model, each.batch)
        finally:
            handle.remove()
        if not seen:
            raise ConfigError("The model never used the edited layer. Choose another one.")
        rows = seen[0].reshape(-1, seen[0].shape[-1])
        if len(rows) != each.batch.input_ids.numel():
            raise ConfigError(
                f"The edited layer sees {len(rows)} of {each.batch.input_ids.numel()} tokens only, "
                "as a layer inside a mixture of experts does. Choose one that sees every token."
            )
        return _wide(rows[each.tokens.to(rows.device)])

    @contextmanager
    def _weighing(self, weight: Tensor) -> Iterator[list[Tensor]]:
        """Let the layer have another weight. Its outputs, where the graph starts."""
        outputs: list[Tensor] = []

        def weigh(module: nn.Module, args: tuple[Any, ...], _: Tensor) -> Tensor:
            with torch.no_grad():
                output: Tensor = args[0] @ weight.to(args[0].dtype)
                if isinstance(module.bias, Tensor):
                    output = output + module.bias
            outputs.append(output.requires_grad_())
            return output.clone()  # some models, as Falcon, write to outputs in place

        handle = self._module.register_forward_hook(weigh)
        try:
            yield outputs
        finally:
            handle.remove()


class HeldTogether(HeldRows):
    """Rows of one batch with all of its columns, as the released code of WISE has them.

    The tokens of `inputs` are all columns of all rows, padding too. The loss of a pair of T wanted
    tokens is the sum over them divided by T + 1: the label mask of the code has a column more,
    whose loss is zero.
    """

    def __init__(
        self,
        model: nn.Module,
        module: nn.Module,
        rows: Together,
        counted: int,
        trunk: Trunk | None = None,
    ) -> None:
        """Run the rows up to the layer.

        Args:
            model: The language model, its weights frozen.
            module: The edited linear layer.
            rows: The rows.
            counted: How many of them, the first ones, have a loss.
            trunk: What lies below the layer's block; None runs the whole model each time.

        Raises:
            ConfigError: If the layer is not reached, or sees only a part of the tokens.
        """
        self._model, self._module, self._trunk = model, module, trunk
        self._counted = counted
        self._answers = [
            ids[first:] for ids, first in zip(rows.input_ids, rows.wanted_from, strict=True)
        ]
        self.longest = len(rows.input_ids[0])
        device = model.get_input_embeddings().weight.device  # type: ignore[operator]
        batch = _as_batch(rows).to(device)
        with torch.no_grad():
            states = None if trunk is None else trunk.states_of(batch)
        everything = torch.arange(batch.input_ids.numel(), device=device)
        self._passes = [_Pass(list(range(len(rows.input_ids))), batch, states, everything)]
        self._look()

    def _losses(self, logits: Tensor, each: _Pass) -> Tensor:
        sizes = torch.tensor([len(answer) for answer in self._answers], device=logits.device)
        return super()._losses(logits, each) * sizes / (sizes + 1)


def _as_batch(rows: Together) -> Batch:
    """Each wanted token is predicted at the column before it."""
    length = len(rows.input_ids[0])
    ids = torch.tensor(rows.input_ids)
    columns = torch.arange(length)
    mask = (columns >= torch.tensor(rows.padding)[:, None]).long()
    wanted = columns >= torch.tensor(rows.wanted_from)[:, None]
    owners, places = wanted.nonzero(as_tuple=True)
    return Batch(ids, mask, owners * length + places - 1, ids[wanted], owners)


class _ReadEnough(Exception):
    """Ends a forward pass whose remaining layers nobody looks at."""


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

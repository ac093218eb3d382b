"""Losses of edits with their gradients at whole weights, over every token that a layer saw.

A weight's gradient is H^T G, its layer's inputs against the gradients at its outputs, formed in
float32 from the two; unlike the signals of a turn these are rows of *all* tokens, since a token
of the prompt acts on the answer too. The weights themselves stay frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Batch, Encoded
from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.core.types import SupervisedAt, WeightGradients
from ultraedit.host.trace.signals import batches, supervised_logits


def weight_gradients(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    items: Sequence[Encoded],
    at: SupervisedAt = "answer",
) -> WeightGradients:
    """Trace the mean loss of encoded edits and its gradients at the weights of some layers.

    Args:
        model: The language model, its weights frozen.
        modules: The linear layers by path.
        items: The edits, encoded. At least one.
        at: Where the answer's tokens are wanted; see `SupervisedAt`.

    Raises:
        ConfigError: If a layer is not reached.
        NumericalError: If a loss is not finite.
    """
    losses = [torch.empty(0)] * len(items)
    grads: dict[str, Tensor] = {}
    read = items if at == "answer" else [Encoded(i.prompt_ids, i.answer_ids[:1]) for i in items]
    with _Layers(modules).attached() as layers, torch.enable_grad():
        for indices, batch in batches(model, read):
            logits = supervised_logits(model, batch)
            answers = [items[index].answer_ids for index in indices]
            each = edit_losses(logits, batch, answers)  # (edits of the batch,)
            for index, loss in zip(indices, each.detach().cpu(), strict=True):
                losses[index] = loss
            for path, grad in layers.gradients(each.sum() / len(items)).items():
                grads[path] = grads[path] + grad if path in grads else grad
    if not bool(torch.isfinite(torch.stack(losses)).all()):
        raise NumericalError(
            "The loss is not finite on these edits. If earlier turns were applied, the model has "
            "collapsed: lower `lr`; otherwise try float32."
        )
    return WeightGradients(torch.stack(losses), grads)


def edit_losses(logits: Tensor, batch: Batch, answers: Sequence[Sequence[int]]) -> Tensor:
    """Mean cross-entropy of each edit's answer tokens. Shape (edits,).

    Args:
        logits: At the supervised positions, one for each answer token of an edit, or a single
            one for all of them. Shape (n, vocabulary).
        batch: What was read.
        answers: Answer tokens of each edit.
    """
    device = logits.device
    sizes = torch.tensor([len(answer) for answer in answers], device=device)
    owner = torch.repeat_interleave(torch.arange(len(answers), device=device), sizes)
    labels = torch.tensor([token for answer in answers for token in answer], device=device)
    rows = torch.arange(len(labels), device=device) if len(logits) == len(labels) else owner
    dtype = torch.promote_types(logits.dtype, torch.float32)
    # log_softmax of the few rows there are, then one pick per answer token from its row.
    picked = torch.log_softmax(logits, dim=-1, dtype=dtype)[rows, labels]
    return torch.zeros(len(answers), dtype=dtype, device=device).index_add(
        0, owner, -picked / sizes[owner]
    )


class _Layers:
    """Inputs and outputs of the layers in the last forward pass."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def attached(self) -> Iterator[_Layers]:
        handles = [
            module.register_forward_hook(partial(self._forward, path))
            for path, module in self.modules.items()
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _forward(self, path: str, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if not output.requires_grad:
            # The lowest layer: the graph starts here, at its output.
            output = output.detach().requires_grad_()
        # The model gets a copy and we keep copies: some, as Falcon, write to outputs in place.
        self.seen[path] = (args[0].detach().clone(), output)
        return output.clone()

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Gradients of a loss at the weights. At least float32, shape (d_in, d_out)."""
        missing = [path for path in self.modules if path not in self.seen]
        if missing:
            raise ConfigError(f"The model never used {', '.join(missing)}. Choose other modules.")
        outputs = [output for _, output in self.seen.values()]
        grads = torch.autograd.grad(loss, outputs)
        return {
            path: _flat(inputs).T @ _flat(grad)
            for (path, (inputs, _)), grad in zip(self.seen.items(), grads, strict=True)
        }


def _flat(values: Tensor) -> Tensor:
    """One row per token, at least float32. Shape (tokens, width)."""
    rows = values.reshape(-1, values.shape[-1])
    return rows.to(torch.promote_types(rows.dtype, torch.float32))

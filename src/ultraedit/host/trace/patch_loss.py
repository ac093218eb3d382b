"""What a patch would do to a loss, and the gradient of that loss at the patched weights.

The patch is never added to a weight: the edited layers' outputs get what it would have added.
So the model stays as it is, no weight gets a gradient, and the gradient at an edited weight is
handed out in its factors, inputs and output gradients, without being formed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultraedit.core.encoding import Batch, Encoded, longest_first
from ultraedit.core.errors import NumericalError
from ultraedit.core.types import GradientSink, LossTerm, LossValue, LowRank, Patch
from ultraedit.host.trace.signals import Record, attended, passes, supervised_logits
from ultraedit.host.trace.trunk import Trunk


def loss_of_patch(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    patch: Patch,
    term: LossTerm,
    items: Sequence[Encoded],
    sink: GradientSink | None = None,
    trunk: Trunk | None = None,
) -> LossValue:
    """Value of one term as if a patch were applied, and its gradients.

    Args:
        model: The language model, its weights frozen.
        modules: The edited linear layers by path.
        patch: What is judged.
        term: What it is judged by.
        items: The pairs of the term, encoded.
        sink: Given the gradients, times the term's factor. None for none.
        trunk: What has the states below the lowest edited layer, or computes them once.

    Returns:
        The value.

    Raises:
        NumericalError: If it is not finite.
    """
    weights = _pair_weights(items, term)
    record = Patched(modules, patch, reverted=term.backward == "reverted")
    loss, agreed, tokens = 0.0, 0, 0
    for indices, batch, below in passes(model, items, trunk):
        sizes = torch.tensor([len(items[index].answer_ids) for index in indices])
        per_token = weights[indices].repeat_interleave(sizes)  # (n,)
        reference = None
        with below:
            if term.kind == "drift":
                with torch.no_grad():
                    reference = supervised_logits(model, batch)
            with record.attached(), torch.set_grad_enabled(sink is not None):
                record.positions = attended(batch)
                logits = supervised_logits(model, batch)
        with torch.set_grad_enabled(sink is not None):
            value = (_losses(logits, batch, reference) * per_token.to(logits.device)).sum()
            if sink is not None:
                (term.weight * value).backward()
                record.drain(sink)
        wanted = batch.labels if reference is None else reference.argmax(dim=-1)
        agreed += int((logits.detach().argmax(dim=-1) == wanted.to(logits.device)).sum())
        loss += float(value.detach())
        tokens += len(per_token)
    if not loss == loss or loss in (float("inf"), float("-inf")):
        raise NumericalError(
            f"The loss of the patched model is {loss}: it has collapsed. Lower the step "
            "(`lr`), raise `ridge`, or use float32."
        )
    return LossValue(loss, agreed / max(1, tokens))


def _losses(logits: Tensor, batch: Batch, reference: Tensor | None) -> Tensor:
    """Cross-entropy of each answer token, or its divergence from the reference. Shape (n,)."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    if reference is None:
        return F.cross_entropy(wide, batch.labels.to(wide.device), reduction="none")
    expected = torch.log_softmax(reference.to(wide.dtype), dim=-1)
    actual = torch.log_softmax(wide, dim=-1)
    return F.kl_div(actual, expected, reduction="none", log_target=True).sum(dim=-1)


def _pair_weights(items: Sequence[Encoded], term: LossTerm) -> Tensor:
    """What a token of each pair weighs in the loss. float64, shape (pairs,)."""
    sizes = torch.tensor([len(item.answer_ids) for item in items], dtype=torch.float64)
    if term.average == "edit":
        return 1 / (sizes * term.micro_batch)
    weights = torch.empty_like(sizes)
    order = longest_first(items)
    for start in range(0, len(order), term.micro_batch):
        together = order[start : start + term.micro_batch]
        weights[together] = 1 / sizes[together].sum()
    return weights


class Patched(Record):
    """Records a model whose edited layers answer as if a patch were applied."""

    def __init__(
        self, modules: Mapping[str, nn.Module], patch: Patch, *, reverted: bool = False
    ) -> None:
        super().__init__(modules)
        self._changes = patch.changes
        self._reverted = reverted

    def _forward(
        self, path: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        inputs = args[0].detach() if self._reverted else args[0]
        if path in self._changes:
            output = output + _applied(self._changes[path], inputs).to(output.dtype)
        return super()._forward(path, module, args, output) if torch.is_grad_enabled() else output

    def drain(self, sink: GradientSink) -> None:
        """Hand out what one batch left, and forget it."""
        for path in self.modules:
            for keys, grads in zip(self.keys[path], self.grads[path], strict=True):
                sink(path, keys, grads)
            self.keys[path], self.grads[path] = [], []


def _applied(change: Tensor | LowRank, inputs: Tensor) -> Tensor:
    """``inputs @ change``, through the factors where there are any."""
    factors = change if isinstance(change, LowRank) else (change,)
    for factor in factors:
        inputs = inputs.to(torch.promote_types(inputs.dtype, factor.dtype)) @ factor.to(
            inputs.device, torch.promote_types(inputs.dtype, factor.dtype)
        )
    return inputs

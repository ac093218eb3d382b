"""The search for an offset as the paper states it: one edit at a time, whole passes, autograd."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from ultraedit.core.encoding import Encoded
from ultraedit.core.types import OffsetSearch
from ultraedit.host.trace import Goal


def hidden(output):
    return output[0] if isinstance(output, tuple) else output


def logits_with(model, layer, item: Encoded, at: int, delta: Tensor) -> Tensor:
    """Logits of a whole pass with an offset added to a layer's output. (length, vocabulary)."""

    def add(_, __, output):
        values = hidden(output).clone()
        values[0, at] += delta.to(values.dtype)
        return (values, *output[1:]) if isinstance(output, tuple) else values

    handle = layer.register_forward_hook(add)
    try:
        return model(torch.tensor([item.input_ids]), use_cache=False).logits[0].float()
    finally:
        handle.remove()


def output_at(model, layer, item: Encoded, at: int) -> Tensor:
    seen = []
    handle = layer.register_forward_hook(lambda _, __, output: seen.append(hidden(output)))
    with torch.no_grad():
        model(torch.tensor([item.input_ids]), use_cache=False)
    handle.remove()
    return seen[0][0, at].float()


def naive_offset(model, layer, goal: Goal, search: OffsetSearch) -> tuple[Tensor, float, int]:
    """The offset of one edit, its last loss, and how many steps it took."""
    h = output_at(model, layer, goal.prompts[0].item, goal.prompts[0].at)
    delta = torch.zeros_like(h, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=search.lr)
    essence, unedited = goal.essence, None
    for step in range(1, search.steps):
        nll = 0.0
        for item, at in goal.prompts:
            logs = logits_with(model, layer, item, at, delta).log_softmax(-1)
            first = len(item.prompt_ids) - 1
            chosen = [logs[first + i, token] for i, token in enumerate(item.answer_ids)]
            nll = nll - torch.stack(chosen).mean() / len(goal.prompts)
        now = logits_with(model, layer, essence.item, essence.at, delta).log_softmax(-1)[-1]
        unedited = now.detach() if unedited is None else unedited
        if search.kl_from == "unedited":
            kl = (unedited.exp() * (unedited - now)).sum()
        else:  # the released code's call: its first argument is what the second is divided by
            kl = kl_div(
                unedited.unsqueeze(0), now.unsqueeze(0), log_target=True, reduction="batchmean"
            )
        loss = nll + search.kl * kl + search.weight_decay * delta.norm() / h.norm() ** 2
        if loss.item() < search.stop:
            return delta.detach(), loss.item(), step - 1
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            delta *= (search.clamp * h.norm() / delta.norm()).clamp(max=1)
    return delta.detach(), loss.item(), step

"""WISE as its released code writes an edit: one padded batch, autograd through the whole model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORED = -100


def batch_of(tokenizer, prompts: Sequence[str], target: str, unrelated: str):
    """Token ids and mask, padded on the left, and labels: the columns behind the longest prompt."""
    rows = [tokenizer(f"{text} {target}")["input_ids"] for text in prompts]
    rows.append(tokenizer(unrelated)["input_ids"])
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    labels = ids.clone()
    labels[:-1, : max(len(tokenizer(text)["input_ids"]) for text in prompts)] = IGNORED
    labels[ids == pad] = IGNORED
    return ids, mask, labels


def positive(values: Tensor) -> Tensor:
    return values[values > 0].mean() if bool((values > 0).any()) else values.new_zeros(())


def naive_wise(
    model, module, activation, batch, start: Tensor, mask: Tensor, options, stop=(1e-4, 0.02)
) -> tuple[Tensor, float, int]:
    """Write one edit into a copy of a linear layer's weight, as it is stored (d_out, d_in).

    Returns:
        The copy, the distance that its threshold is from, and how many steps were made.
    """
    ids, attention, labels = batch
    base = module.weight.detach()
    weight = start.clone().requires_grad_()
    sgd = torch.optim.SGD([weight], options["edit_lr"], weight_decay=1e-5)
    last_prompt = (labels == IGNORED).sum(dim=-1) - 1
    seen = {}

    def both(layer, args, _):
        bias = 0 if layer.bias is None else layer.bias
        seen["old"], seen["new"] = args[0] @ base.T + bias, args[0] @ weight.T + bias
        return seen["new"]

    before, last, distance, steps = 0.0, 1e9, 0.0, 0
    handle = module.register_forward_hook(both)
    for iteration in range(options["n_iter"]):
        logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
        flat = cross_entropy(
            logits[:-1, :-1].flatten(0, 1),
            labels[:-1, 1:].flatten(),
            reduction="none",
            ignore_index=IGNORED,
        ).view(len(ids) - 1, -1)
        counted = torch.zeros_like(flat)
        for row, place in enumerate(last_prompt[:-1]):
            counted[row, place - 1 :] = 1
        fitted = ((flat * counted).sum(1) / counted.sum(1)).mean()
        away = (activation(seen["new"]) - activation(seen["old"])).norm(dim=-1).mean(dim=-1)
        inside, outside = away[:-1], away[-1:]
        apart = positive(outside - inside + options["gamma"])
        apart = apart + positive(outside - options["alpha"]) + positive(options["beta"] - inside)
        loss = fitted + apart
        if abs(last - before) <= stop[0] and last <= stop[1]:
            distance = inside.mean().item()
            break
        if iteration == options["n_iter"] - 1:
            distance = inside.mean().item()
        sgd.zero_grad()
        loss.backward()
        weight.grad *= mask
        sgd.step()
        before, last, steps = last, loss.item(), steps + 1
        with torch.no_grad():
            weight.copy_(weight.clamp(base - 1.0, base + 1.0))
    handle.remove()
    return weight.detach(), distance, steps

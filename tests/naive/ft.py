"""FT-L as the released codes have it: one trainable matrix, their tokens, torch's own Adam."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ultraedit.core.types import Edit


def naive_ft_l(
    model,
    tokenizer,
    module,
    edits: Sequence[Edit],
    *,
    lr: float,
    epochs: int,
    batch_size: int,
    norm_constraint: float | None,
) -> Tensor:
    """Change of a linear layer's weight as it is stored. The layer is left as it was."""
    weight = module.weight
    start = weight.detach().clone()
    weight.requires_grad_()
    adam = torch.optim.Adam([weight], lr=lr)
    pad = tokenizer.pad_token_id
    for _ in range(epochs):
        seen = []
        for first in range(0, len(edits), batch_size):
            batch = edits[first : first + batch_size]
            targets = [tokenizer(f" {edit.target}")["input_ids"] for edit in batch]
            longest = max(map(len, targets))
            targets = torch.tensor([t + [pad] * (longest - len(t)) for t in targets])
            mask = targets != tokenizer.unk_token_id
            logs = torch.stack(
                [
                    model(torch.tensor([tokenizer(edit.prompt)["input_ids"]])).logits[0, -1]
                    for edit in batch
                ]
            ).log_softmax(-1)
            loss = (-(logs.gather(1, targets) * mask).sum(1) / mask.sum(1)).mean()
            seen.append((float(loss.detach()), len(batch)))
            if loss.item() >= 1e-2:
                adam.zero_grad()
                loss.backward()
                adam.step()
            if norm_constraint is not None:
                with torch.no_grad():
                    low, high = start - norm_constraint, start + norm_constraint
                    weight.copy_(torch.minimum(torch.maximum(weight, low), high))
        if sum(loss * size for loss, size in seen) / len(edits) < 1e-2:
            break
    change = weight.detach() - start
    weight.requires_grad_(False)
    weight.data.copy_(start)
    return change

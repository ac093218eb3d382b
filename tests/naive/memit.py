"""A turn of MEMIT and of AlphaEdit as the released codes make it: dense, one edit at a time.

Whole passes of the model, hooks, torch's own Adam, and the linear systems of d_in rows. The texts
before the prompts are given, since the codes draw them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tests.naive.offsets import hidden, naive_offset
from ultraedit.core.encoding import Encoded
from ultraedit.core.types import Edit, OffsetSearch
from ultraedit.host.trace import Goal, PrefixedRow

Solve = Callable[[int, Tensor, Tensor], Tensor]
"""From the number of a layer, K (d_in, u) and R (d_out, u) to the change (d_out, d_in)."""


def naive_turn(
    model, tokenizer, layers: Sequence[int], edits: Sequence[Edit], contexts, search, solve: Solve
) -> dict[int, Tensor]:
    """Change of the down projection of each layer, (d_out, d_in). The model is left as it was."""
    blocks = model.model.layers
    last = blocks[layers[-1]]
    z = torch.stack([wanted(model, tokenizer, last, edit, contexts, search) for edit in edits], 1)
    before = {number: blocks[number].mlp.down_proj.weight.detach().clone() for number in layers}
    changes = {}
    for place, number in enumerate(layers):
        module = blocks[number].mlp.down_proj
        keys = torch.stack([mean_key(model, tokenizer, module, e, contexts) for e in edits], 1)
        now = torch.stack([at_subject(model, tokenizer, last, e, "", False) for e in edits], 1)
        changes[number] = solve(number, keys.double(), (z - now).double() / (len(layers) - place))
        module.weight.data += changes[number].to(module.weight)
    for number, weight in before.items():
        blocks[number].mlp.down_proj.weight.data.copy_(weight)
    return changes


def place_of(tokenizer, text: str, subject: str) -> tuple[list[int], int]:
    """Tokens of a text, and the last one of the subject's last occurrence."""
    encoded = tokenizer(text, return_offsets_mapping=True)
    end = text.rindex(subject) + len(subject)
    inside = [i for i, (start, stop) in enumerate(encoded["offset_mapping"]) if start < end <= stop]
    return encoded["input_ids"], inside[-1]


def at_subject(model, tokenizer, module, edit: Edit, context: str, inputs: bool) -> Tensor:
    """Input or output of a module at the subject's last token."""
    ids, at = place_of(tokenizer, context + edit.prompt, edit.subject)
    seen = []
    handle = module.register_forward_hook(
        lambda _, args, output: seen.append(args[0] if inputs else hidden(output))
    )
    with torch.no_grad():
        model(torch.tensor([ids]), use_cache=False)
    handle.remove()
    return seen[0][0, at]


def mean_key(model, tokenizer, module, edit: Edit, contexts: Sequence[str]) -> Tensor:
    """Half of the plain prompt's, half of the mean over the contexts."""
    plain = at_subject(model, tokenizer, module, edit, "", True)
    rest = [at_subject(model, tokenizer, module, edit, context, True) for context in contexts]
    return (plain + torch.stack(rest).mean(0)) / 2


def wanted(model, tokenizer, layer, edit: Edit, contexts, search: OffsetSearch) -> Tensor:
    """The hidden state z of one edit."""
    answer = tuple(tokenizer(f" {edit.target}", add_special_tokens=False)["input_ids"])
    rows = []
    for context in ("", *contexts):
        ids, at = place_of(tokenizer, context + edit.prompt, edit.subject)
        rows.append(PrefixedRow(Encoded(tuple(ids), answer), at))
    ids, at = place_of(tokenizer, f"{edit.subject} is a", edit.subject)
    essence = PrefixedRow(Encoded(tuple(ids[: at + 1]), (0,)), at)
    offset, _, _ = naive_offset(model, layer, Goal(tuple(rows), essence), search)
    return at_subject(model, tokenizer, layer, edit, "", False) + offset


def memit_solution(moments: dict[int, Tensor], weight: float) -> Solve:
    """``R K^T (weight C + K K^T)^-1``, with C as it is."""

    def solve(number: int, keys: Tensor, residuals: Tensor) -> Tensor:
        system = weight * moments[number].double() + keys @ keys.T
        return residuals @ torch.linalg.solve(system, keys).T

    return solve


def alphaedit_solution(moments: dict[int, Tensor], threshold: float, ridge: float) -> Solve:
    """``(P K K^T + ridge I)^-1 P K R^T``, P from the singular vectors of C as it is."""

    def solve(number: int, keys: Tensor, residuals: Tensor) -> Tensor:
        vectors, values, _ = torch.linalg.svd(moments[number].double())
        free = vectors[:, values < threshold]
        projector = free @ free.T
        system = projector @ (keys @ keys.T) + ridge * torch.eye(len(keys), dtype=keys.dtype)
        return torch.linalg.solve(system, projector @ keys @ residuals.T).T

    return solve

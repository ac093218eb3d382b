"""Sequences frozen in the middle of a model: from one token and one layer on they can be resumed.

An offset that is added to the output of a decoder layer at one token changes nothing below that
layer, and nothing at earlier tokens. So the layer's outputs from that token on, and the attention
keys and values of the earlier tokens in the layers above, are computed once. A later pass goes
through the layers above alone, and through the tokens from the chosen one on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Encoded
from ultraedit.host.trace.blocks import Blocks
from ultraedit.host.trace.signals import batches, head_at, max_tokens


class PrefixedRow(NamedTuple):
    """A prompt with its answer, and the token of the prompt from which on it is resumed."""

    item: Encoded
    at: int
    """Index of the token, from 0."""

    @property
    def length(self) -> int:
        """Tokens from that one on."""
        return len(self.item) - self.at


class Frozen(NamedTuple):
    """One row, held at a layer."""

    row: PrefixedRow
    outputs: Tensor
    """Outputs of the layer from the row's token on. Shape (length, d)."""
    past: dict[int, tuple[Tensor, Tensor]]
    """Attention keys and values of the earlier tokens in each layer above, by its number.
    Shape (heads, at, d_head) each."""


class Resumable(NamedTuple):
    """A batch of frozen rows, padded: the earlier tokens on the left, the others on the right."""

    input_ids: Tensor
    """Shape (rows, length)."""
    attention_mask: Tensor
    """Shape (rows, past + length)."""
    position_ids: Tensor
    """Shape (rows, length)."""
    outputs: Tensor
    """What to put in place of the layer's outputs. Shape (rows, length, d). The row's token is
    the first."""
    past: dict[int, tuple[Tensor, Tensor]]
    """By layer keys and values, shape (rows, heads, past, d_head) each."""
    positions: Tensor
    """Supervised positions in the flattened (rows x length) batch, row after row. Shape (n,)."""
    labels: Tensor
    """Answer token expected at each of them. Shape (n,)."""
    rows: Tensor
    """Row of the batch that each of them belongs to. Shape (n,)."""


class Upper:
    """The part of a model above one of its decoder layers."""

    def __init__(self, blocks: Blocks, number: int) -> None:
        """Choose the layer.

        Args:
            blocks: The model's decoder layers.
            number: Number of the layer, from 0. The part begins with the one above.
        """
        self.model = blocks.model
        self._blocks = blocks
        self._number = number

    @torch.no_grad()
    def freeze(self, rows: Sequence[PrefixedRow]) -> list[Frozen]:
        """Run rows through the whole model once, and hold them at the layer.

        Returns:
            One `Frozen` per row, in order.
        """
        frozen: dict[int, Frozen] = {}
        seen: list[Tensor] = []
        layer = self._blocks.list[self._number]

        def note(_: nn.Module, __: Any, output: Any) -> None:
            # A copy: a layer above may write to it in place.
            seen.append((output[0] if isinstance(output, tuple) else output).clone())

        handle = layer.register_forward_hook(note)
        try:
            for indices, batch in batches(self.model, [row.item for row in rows]):
                record = _Recording()
                with head_at(self.model, batch.positions[:1]):
                    self.model(
                        input_ids=batch.input_ids,
                        attention_mask=batch.attention_mask,
                        past_key_values=record,
                        use_cache=False,
                    )
                hidden = seen.pop()
                for place, index in enumerate(indices):
                    frozen[index] = self._cut(rows[index], place, hidden, record.layers)
        finally:
            handle.remove()
        return [frozen[index] for index in range(len(rows))]

    def _cut(
        self,
        row: PrefixedRow,
        place: int,
        hidden: Tensor,
        recorded: Mapping[int, tuple[Tensor, Tensor]],
    ) -> Frozen:
        """Copy out of a batch what one row needs."""
        past = {
            layer: (keys[place, :, : row.at].clone(), values[place, :, : row.at].clone())
            for layer, (keys, values) in recorded.items()
            if layer > self._number
        }
        return Frozen(row, hidden[place, row.at : len(row.item)].clone(), past)

    def logits(self, batch: Resumable, outputs: Tensor) -> Tensor:
        """Go on with given outputs of the layer.

        Args:
            batch: The rows.
            outputs: What stands in for the layer's outputs. Shape (rows, length, d).

        Returns:
            Logits at the supervised positions. Shape (n, vocabulary).
        """
        before = batch.attention_mask.shape[1] - outputs.shape[1]
        resumed = self._blocks.resumed(self._number + 1, outputs)
        with resumed, head_at(self.model, batch.positions):
            output = self.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
                past_key_values=_Past(batch.past, before),
                use_cache=False,
            )
        logits: Tensor = output.logits[0]
        return logits


def resumable_batches(
    model: nn.Module, frozen: Sequence[Frozen]
) -> Iterator[tuple[list[int], Resumable]]:
    """Cut frozen rows into batches of similar length, each within the budget of a forward pass.

    Yields:
        The indices of the rows, and their batch on the model's device.
    """
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    most = max_tokens(device)
    order = sorted(range(len(frozen)), key=lambda i: (-frozen[i].row.length, -frozen[i].row.at))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * frozen[batch[0]].row.length > most:
            yield batch, _collate([frozen[i] for i in batch], device)
            batch = []
        batch.append(index)
    if batch:
        yield batch, _collate([frozen[i] for i in batch], device)


def _collate(frozen: Sequence[Frozen], device: torch.device) -> Resumable:
    length = max(each.row.length for each in frozen)
    before = max(each.row.at for each in frozen)
    count, d = len(frozen), frozen[0].outputs.shape[-1]
    input_ids = torch.zeros(count, length, dtype=torch.long)
    mask = torch.zeros(count, before + length, dtype=torch.long)
    position_ids = torch.zeros(count, length, dtype=torch.long)
    outputs = frozen[0].outputs.new_zeros(count, length, d)
    past = {
        layer: tuple(t.new_zeros(count, t.shape[0], before, t.shape[2]) for t in pair)
        for layer, pair in frozen[0].past.items()
    }
    positions: list[int] = []
    labels: list[int] = []
    rows: list[int] = []
    for place, (row, own, own_past) in enumerate(frozen):
        ids = row.item.input_ids[row.at :]
        input_ids[place, : len(ids)] = torch.tensor(ids)
        mask[place, before - row.at : before + len(ids)] = 1
        # Padding repeats the last position, so that none is beyond the model's context.
        position_ids[place] = torch.arange(row.at, row.at + length).clamp(max=len(row.item) - 1)
        outputs[place, : len(ids)] = own
        for layer, pair in own_past.items():
            for target, source in zip(past[layer], pair, strict=True):
                target[place, :, before - row.at :] = source
        first = place * length + len(row.item.prompt_ids) - 1 - row.at
        positions.extend(range(first, first + len(row.item.answer_ids)))
        labels.extend(row.item.answer_ids)
        rows.extend([place] * len(row.item.answer_ids))
    return Resumable(
        input_ids.to(device),
        mask.to(device),
        position_ids.to(device),
        outputs,
        past,  # type: ignore[arg-type]
        torch.tensor(positions, device=device),
        torch.tensor(labels, device=device),
        torch.tensor(rows, device=device),
    )


class _Cache:
    """What transformers asks of a cache of keys and values, beside `update`."""

    is_compileable = False
    is_sliding: tuple[bool, ...] = ()
    length = 0
    """Tokens that stand before those of the batch."""

    def get_seq_length(self, layer: int = 0) -> int:
        return self.length

    def get_query_offset(self, layer: int = 0) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int, layer: int = 0) -> tuple[int, int]:
        return self.length + query_length, 0


class _Recording(_Cache):
    """Remembers the keys and values that each layer computes."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        self.layers[layer] = (keys, values)
        return keys, values


class _Past(_Cache):
    """Puts the keys and values of the earlier tokens before the new ones, and keeps nothing."""

    def __init__(self, layers: dict[int, tuple[Tensor, Tensor]], length: int) -> None:
        self.layers = layers
        self.length = length

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        past_keys, past_values = self.layers[layer]
        return torch.cat([past_keys, keys], dim=2), torch.cat([past_values, values], dim=2)

"""Keys and gradients at every token of some texts, with the loss of each text.

Unlike in `layer_signals`, which traces a turn of the paper, texts may be of any form (plain, chat,
a general question), and each weighs the same however long its answer is.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultraedit.core.encoding import Batch, Encoded
from ultraedit.core.errors import NumericalError
from ultraedit.core.types import LayerSignal, Patch, TracedRows
from ultraedit.host.trace.patch_loss import Patched
from ultraedit.host.trace.shared_prefix import SharedRow
from ultraedit.host.trace.signals import (
    Record,
    attended,
    passes,
    shared_passes,
    supervised_logits,
)
from ultraedit.host.trace.trunk import Trunk


def trace_rows(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    items: Sequence[Encoded],
    *,
    sampled: bool = False,
    trunk: Trunk | None = None,
    rows: Sequence[SharedRow] = (),
    patch: Patch | None = None,
) -> TracedRows:
    """Run texts forward and backward, with a row for every token that the model reads.

    The loss of a text is the mean cross-entropy over its answer tokens, in nats, and the gradients
    are those of the *sum* of these losses, so that they do not depend on how texts are batched.
    What the texts of a shared row have in front, such as the front of a chat template, is read
    once: it has one row a token, with the gradients of all of these texts.

    Args:
        model: The language model, its weights frozen.
        modules: The edited linear layers by path.
        items: The texts, encoded. At least one.
        sampled: Whether each answer token's label is drawn from the model's own distribution in
            the place of the given one: then the second moment of the gradients estimates the
            Fisher information (Martens and Grosse 2015, section 2.2), whose "loss" means nothing.
        trunk: What has the states below the lowest edited layer, or computes them once.
        rows: Texts that are laid in shared rows; only where there is a trunk.
        patch: What the edited layers' outputs get as if it were applied. None for nothing.

    Returns:
        The losses, and per path its rows; see `TracedRows`.

    Raises:
        ConfigError: If a module does not see every token, or is not reached at all.
        NumericalError: If a loss is not finite.
    """
    record = Record(modules) if patch is None else Patched(modules, patch)
    losses = torch.zeros(len(items), dtype=torch.float64)
    owners: list[Tensor] = []
    with record.attached(), torch.enable_grad():
        for part in _parts(model, items, rows, trunk):
            record.positions = attended(part.batch)
            with part.below:
                logits = supervised_logits(model, part.batch)
            wide = logits if logits.dtype == torch.float64 else logits.float()
            texts = [items[index] for index in part.texts]
            labels = (_draw(wide, texts) if sampled else part.batch.labels).to(wide.device)
            each = F.cross_entropy(wide, labels, reduction="none")  # (answer tokens,)
            sizes = torch.tensor([len(text.answer_ids) for text in texts])
            owner = torch.repeat_interleave(torch.arange(len(texts)), sizes)
            share = (1 / sizes.to(wide.dtype))[owner].to(wide.device)
            (each * share).sum().backward()
            means = torch.zeros(len(texts), dtype=torch.float64)
            losses[part.texts] = means.index_add(0, owner, (each.detach() * share).double().cpu())
            owners.append(part.owners)
    if not bool(torch.isfinite(losses).all()):
        raise NumericalError(
            "The loss of the edits is not finite: the model has collapsed. Go back with "
            "`ultraedit rollback`, or begin with the unedited model in float32."
        )
    signals: dict[str, LayerSignal] = record.signals(torch.cat(owners))
    return TracedRows(losses, signals)


class _Part(NamedTuple):
    """Some of the texts, to be run together."""

    texts: list[int]
    """Their indices, in the order of the batch's supervised tokens."""
    batch: Batch
    below: AbstractContextManager[None]
    owners: Tensor
    """Index of the text of each token that is no padding. Shape (tokens,)."""


def _parts(
    model: nn.Module, items: Sequence[Encoded], rows: Sequence[SharedRow], trunk: Trunk | None
) -> Iterator[_Part]:
    """Cut texts into parts: those of shared rows, and the others in padded batches."""
    if trunk is not None:
        for some, batch, below in shared_passes(model, items, rows, trunk):
            indices = [index for row in some for index in row.indices]
            yield _Part(indices, batch, below, torch.cat([row.owners for row in some]))
    in_rows = {index for row in rows for index in row.indices}
    others = [index for index in range(len(items)) if index not in in_rows]
    for places, batch, below in passes(model, [items[index] for index in others], trunk):
        indices = [others[place] for place in places]
        read = torch.tensor([len(items[index]) for index in indices])
        owners = torch.repeat_interleave(torch.tensor(indices), read)
        yield _Part(indices, batch, below, owners)


def _draw(logits: Tensor, texts: Sequence[Encoded]) -> Tensor:
    """A token of the model's own distribution at each answer token of some texts. Shape (n,).

    What is drawn for a text depends on its tokens alone, not on what is computed with it or where.
    """
    chances = torch.softmax(logits.detach(), dim=-1).cpu()
    drawn = []
    for text, rows in zip(
        texts, chances.split([len(text.answer_ids) for text in texts]), strict=True
    ):
        seed = zlib.crc32(array("q", text.input_ids).tobytes())
        generator = torch.Generator().manual_seed(seed)
        drawn.append(torch.multinomial(rows, 1, generator=generator)[:, 0])
    return torch.cat(drawn)

"""The frozen trunk: what lies below the lowest edited block is computed once per sequence.

Editing never changes the blocks below the lowest edited one, so their output for a sequence of
tokens serves the edit, every later evaluation and every trial of a search.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ultraedit.core.encoding import Batch, Encoded, collate
from ultraedit.host.trace.blocks import Blocks
from ultraedit.host.trace.hidden_states import StateStore
from ultraedit.host.trace.shared_prefix import (
    SharedRow,
    row_tokens,
    rows_together,
    shared_batch,
    shared_rows,
)
from ultraedit.host.trace.signals import max_tokens, supervised_logits

_log = logging.getLogger("ultraedit")

BUDGET_BYTES = 2**30
"""Memory for hidden states if nobody says otherwise: 47,000 sequences of 20 tokens of SmolLM2 in
bfloat16, 6,500 of Mistral-7B."""

STREAM_BYTES = 2**29
"""How many bytes of states pass through a block each time that it is fetched."""

Hold: TypeAlias = "Callable[[nn.Module], AbstractContextManager[None]]"

WINDOW_BATCHES = 32
"""How many batches' states are at hand at once, whether or not they are kept."""

EVEN_ROWS, EVEN_TOKENS = 4, 64
"""A CPU's batch has a multiple of so many rows and at least so many tokens. Below, products of
matrices and vector loops take other paths, which round differently (LOG.md, 2026-11-22)."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""How far logits may differ from those of the plain path, relative to the largest; elsewhere 0.1.
A model that hands more than hidden states from block to block is off by its whole range."""


class Trunk:
    """Hidden states at the input of the lowest edited block, computed once and reused.

    A state depends on nothing but its own tokens. On a CPU, where a batch holds sequences of one
    length and is never tiny (but see `padded`), that is so to the last bit, and a run that was
    resumed equals an unbroken one; on a GPU, whose kernels depend on the size of the batch, within
    rounding.
    """

    def __init__(
        self,
        blocks: Blocks,
        first: int,
        *,
        narrow: bool = False,
        padded: bool = False,
        hold: Hold | None = None,
        budget_bytes: int = BUDGET_BYTES,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """Begin with nothing computed.

        Args:
            blocks: The model's decoder blocks.
            first: The lowest edited block. At least 1.
            narrow: Whether the MLP of the last block may run at the wanted positions alone: not
                where it is edited itself, since a trace looks for every token there.
            padded: Whether a CPU, too, may compute texts of different lengths together: faster
                for few texts, and a state then depends on those beside it within rounding.
            hold: Keeps the weights of a block in memory, where they are elsewhere otherwise:
                then all sequences pass through one block before the next one is fetched.
            budget_bytes: Most memory for states that are kept. Past it they go to a file.
            folder: Where that file is. None takes the system's folder for temporary files.
        """
        self.blocks = blocks
        self.first = first
        self.narrow = narrow
        self.padded = padded
        self.hold = hold
        self.store = StateStore(budget_bytes, folder)
        self.computed = 0
        """Sequences that were run through the trunk."""
        self.reused = 0
        """Sequences whose states were at hand."""
        self._works: bool | None = None
        self._shares: bool | None = None

    @property
    def device(self) -> torch.device:
        """Where the lowest edited block takes its states."""
        weight = next(self.blocks.list[self.first].parameters())
        if weight.is_meta:  # It is fetched for each pass, and takes its states from anywhere.
            weight = self.blocks.model.get_input_embeddings().weight  # type: ignore[operator]
        return weight.device

    def works_for(self, items: Sequence[Encoded]) -> bool:
        """Whether the model can be cut here: asked once, of the shortest item, then known."""
        if self._works is None and items:
            self._works = self._try(min(items, key=len))
        return bool(self._works)

    def shares(self, items: Sequence[Encoded]) -> bool:
        """Whether texts may stand in shared rows: asked once, of the two shortest, then known."""
        if self._shares is None and len(items) > 1:
            self._shares = self.padded and self._try_shared(sorted(items, key=len)[:2])
        return bool(self._shares)

    def windows(self, items: Sequence[Encoded]) -> Iterator[range]:
        """Cut items, in their order, into parts whose states fit into memory together."""
        limit = WINDOW_BATCHES * max_tokens(self.device)
        if self.hold is not None:
            weight = self.blocks.model.get_input_embeddings().weight  # type: ignore[operator]
            limit = max(limit, STREAM_BYTES // (weight.shape[1] * weight.element_size()))
        start = tokens = 0
        for index, item in enumerate(items):
            if tokens + len(item) > limit and index > start:
                yield range(start, index)
                start, tokens = index, 0
            tokens += len(item)
        if start < len(items):
            yield range(start, len(items))

    @torch.no_grad()
    def states(self, items: Sequence[Encoded], *, keep: bool = True) -> list[Tensor]:
        """Hidden states at the lowest edited block.

        Args:
            items: Encoded pairs.
            keep: Whether what is computed here will be asked for again.

        Returns:
            Per item a tensor on the CPU, not to be written to. Shape (length, hidden).
        """
        stored = [self.store.get(item.input_ids) for item in items]
        missing = {
            item.input_ids: index for index, item in enumerate(items) if stored[index] is None
        }
        fresh = dict(self._compute(list(missing))) if missing else {}
        self.computed += len(fresh)
        self.reused += len(items) - len(fresh)
        if keep:
            for ids, states in fresh.items():
                self.store.put(ids, states)
        return [
            fresh[item.input_ids] if states is None else states
            for item, states in zip(items, stored, strict=True)
        ]

    @torch.no_grad()
    def states_of(self, batch: Batch) -> list[Tensor]:
        """Hidden states of a batch as it is, padding too, by row. Nothing is kept.

        Args:
            batch: Padded on either side.
        """
        ids, mask = batch.input_ids, batch.attention_mask
        if self.hold is None:
            return list(self.blocks.states_at(self.first, ids, mask))
        states = self.blocks.states_at(0, ids, mask)
        for index in range(self.first):
            with self.hold(self.blocks.list[index]), self.blocks.resumed(index, states):
                states = self.blocks.states_at(index + 1, ids, mask)
        return list(states)

    @contextmanager
    def feeding(self, states: Sequence[Tensor], positions: Tensor) -> Iterator[None]:
        """Let the model begin at the lowest edited block.

        Args:
            states: Per row of the batch that the model will be given its states, from `states`.
            positions: Where its logits are wanted, in the flattened batch. Shape (n,).
        """
        padded = pad_sequence(list(states), batch_first=True).to(self.device)
        last = self.blocks.last_mlp_at(positions) if self.narrow else nullcontext()
        with self.blocks.resumed(self.first, padded), last:
            yield

    def close(self) -> None:
        """Forget all states."""
        self.store.close()

    def _compute(
        self, sequences: list[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        device = self.blocks.model.get_input_embeddings().weight.device  # type: ignore[operator]
        limit = max_tokens(device)
        if self._shares and self.hold is None:
            rows, others = shared_rows(sequences, row_tokens(self.blocks.model))
            for some in rows_together(rows, limit):
                laid = shared_batch(some, self.blocks.model.dtype).to(device)  # type: ignore[arg-type]
                found = self.blocks.states_at(
                    self.first, laid.input_ids, laid.attention_mask, laid.position_ids
                ).cpu()
                for row, each in zip(some, found, strict=True):
                    yield from zip(row.texts, row.parted(each[: len(row)]), strict=True)
            sequences = [sequences[index] for index in others]
        exact = device.type == "cpu" and not self.padded
        batches = list(_batches(sequences, limit, same_length=exact))
        padded = (
            pad_sequence(
                [torch.tensor(ids) for ids in (_evened(batch) if exact else batch)],
                batch_first=True,
            ).to(device)
            for batch in batches
        )
        for batch, states in zip(batches, self._run(padded), strict=True):
            for ids, row in zip(batch, states, strict=False):
                yield ids, row[: len(ids)].clone()

    def _run(self, padded: Iterable[Tensor]) -> Iterator[Tensor]:
        """States of batches of token ids, on the CPU.

        Without a mask: no token looks at what comes behind it, padding included.
        """
        if self.hold is None:
            for ids in padded:
                yield self.blocks.states_at(self.first, ids).cpu()
            return
        batches = list(padded)
        states = [self.blocks.states_at(0, ids).cpu() for ids in batches]
        for index in range(self.first):
            with self.hold(self.blocks.list[index]):
                for place, ids in enumerate(batches):
                    with self.blocks.resumed(index, states[place].to(ids.device)):
                        states[place] = self.blocks.states_at(index + 1, ids).cpu()
        yield from states

    @torch.no_grad()
    def _try(self, item: Encoded) -> bool:
        model = self.blocks.model
        batch = collate([item]).to(model.get_input_embeddings().weight.device)  # type: ignore[operator]
        plain = supervised_logits(model, batch).float()
        try:
            states = self.states([item], keep=False)
            # Other tokens run in between, lest a block finds what the plain pass has left.
            self.blocks.states_at(self.first, batch.input_ids.flip(1))
            with self.feeding(states, batch.positions):
                ours = supervised_logits(model, batch).float()
            apart = float((ours - plain).abs().max() / plain.abs().max())
        except Exception as error:
            # Which error a model raises that cannot be cut is its own affair.
            _log.info("No frozen trunk for a %s: %s", type(model).__name__, error)
            return False
        return self._near(apart, "No frozen trunk")

    @torch.no_grad()
    def _try_shared(self, items: Sequence[Encoded]) -> bool:
        """Whether two texts that share nothing have the same logits in one row as by themselves."""
        model = self.blocks.model
        device = model.get_input_embeddings().weight.device  # type: ignore[operator]
        row = SharedRow(tuple(range(len(items))), tuple(item.input_ids for item in items), 0)
        try:
            states = self.states(items, keep=False)
            batch = shared_batch([row], states[0].dtype, items).to(device)
            with self.feeding([row.joined(states)], batch.positions):
                ours = supervised_logits(model, batch).float()
            alone = []
            for item, own in zip(items, states, strict=True):
                batch = collate([item]).to(device)
                with self.feeding([own], batch.positions):
                    alone.append(supervised_logits(model, batch).float())
            plain = torch.cat(alone)
            apart = float((ours - plain).abs().max() / plain.abs().max())
        except Exception as error:
            _log.info("No shared rows for a %s: %s", type(model).__name__, error)
            return False
        return self._near(apart, "No shared rows")

    def _near(self, apart: float, what: str) -> bool:
        """Whether logits are as near to those of the plain path as rounding leaves them."""
        model = self.blocks.model
        if apart > TOLERANCE.get(next(model.parameters()).dtype, 0.1):
            _log.info("%s for a %s: logits differ.", what, type(model).__name__)
            return False
        return True


def trunk_of(
    blocks: Blocks,
    paths: Sequence[str],
    *,
    padded: bool = False,
    hold: Hold | None = None,
    budget_bytes: int = BUDGET_BYTES,
    folder: str | os.PathLike[str] | None = None,
) -> Trunk | None:
    """The trunk below a set of edited modules.

    Args:
        blocks: The model's decoder blocks.
        paths: The edited modules.
        padded: As in `Trunk`.
        hold: As in `Trunk`.
        budget_bytes: Most memory for states that are kept. Past it they go to a file.
        folder: Where that file is. None takes the system's folder for temporary files.

    Returns:
        None if nothing lies below: a module is in the first block, or lies outside all blocks,
        where nobody knows what is below it.
    """
    indices = [index for index in map(blocks.index_of, paths) if index is not None]
    if not indices or len(indices) < len(paths) or min(indices) == 0:
        return None
    return Trunk(
        blocks,
        min(indices),
        narrow=max(indices) < len(blocks) - 1,
        padded=padded,
        hold=hold,
        budget_bytes=budget_bytes,
        folder=folder,
    )


def _batches(
    sequences: Sequence[tuple[int, ...]], limit: int, *, same_length: bool
) -> Iterator[list[tuple[int, ...]]]:
    """Cut sequences into batches of at most `limit` tokens, padding included, longest first."""
    batch: list[tuple[int, ...]] = []
    for ids in sorted(sequences, key=len, reverse=True):
        longest = len(batch[0]) if batch else 0
        if batch and ((len(batch) + 1) * longest > limit or (same_length and len(ids) < longest)):
            yield batch
            batch = []
        batch.append(ids)
    if batch:
        yield batch


def _evened(batch: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """A batch filled up with its last row, so that no row is computed as a rest."""
    least = max(len(batch), -(-EVEN_TOKENS // len(batch[0])))
    return batch + [batch[-1]] * (-(-least // EVEN_ROWS) * EVEN_ROWS - len(batch))

"""Texts with the same beginning in one row, the beginning once.

A chat template puts the same words in front of every question: of SmolLM2's, which has a system
prompt, they are more than half of a fact. Here such texts stand in one row: first the beginning,
then the rest of each text, and an attention mask lets each token see the beginning and its own text
alone. A decoder gives the same states as to each text by itself, within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Batch, Encoded

LEAST_SHARED = 8
"""Tokens of a beginning that is worth it."""

ROW_TOKENS = 256
"""Tokens of a row at most. In longer ones more of the attention is masked out."""


def row_tokens(model: nn.Module) -> int:
    """Tokens of a row at most in a model: no more than the window of a sliding attention.

    The mask of a row takes the place of the model's own, of which nothing may be lost.
    """
    config = model.config.get_text_config()  # type: ignore[operator, union-attr]
    return min(ROW_TOKENS, getattr(config, "sliding_window", None) or ROW_TOKENS)


@dataclass(frozen=True)
class SharedRow:
    """Some texts in one row, their common beginning first."""

    indices: tuple[int, ...]
    """Which texts these are, in the order in which they stand in the row."""

    texts: tuple[tuple[int, ...], ...]
    """Their token ids."""

    shared: int
    """Tokens of the beginning."""

    def renumbered(self, places: Mapping[int, int]) -> SharedRow:
        """The same row where its texts have other indices, by those that they have."""
        return replace(self, indices=tuple(places[index] for index in self.indices))

    def __len__(self) -> int:
        """Tokens of the row."""
        return self.shared + sum(len(text) - self.shared for text in self.texts)

    @property
    def input_ids(self) -> list[int]:
        """Token ids of the row."""
        ids = [*self.texts[0][: self.shared]]
        for text in self.texts:
            ids += text[self.shared :]
        return ids

    @property
    def position_ids(self) -> list[int]:
        """Place of each token of the row in its own text."""
        places = [*range(self.shared)]
        for text in self.texts:
            places += range(self.shared, len(text))
        return places

    @property
    def owners(self) -> Tensor:
        """Text of each token, as its index; the beginning belongs to the first. Shape (length,)."""
        sizes = [len(text) - self.shared for text in self.texts]
        sizes[0] += self.shared
        return torch.repeat_interleave(torch.tensor(self.indices), torch.tensor(sizes))

    @property
    def seen(self) -> Tensor:
        """Which tokens (columns) each token (row) sees. bool, shape (length, length)."""
        sizes = [self.shared, *(len(text) - self.shared for text in self.texts)]
        part = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        return ((part[:, None] == part) | (part == 0)).tril()

    def joined(self, states: Sequence[Tensor]) -> Tensor:
        """The row's hidden states from those of its texts. Shape (length, hidden)."""
        rest = [each[self.shared :] for each in states]
        return torch.cat([states[0][: self.shared], *rest])

    def parted(self, states: Tensor) -> list[Tensor]:
        """Hidden states of each text from the row's; the inverse of `joined`."""
        front, rest = states[: self.shared], states[self.shared :]
        sizes = [len(text) - self.shared for text in self.texts]
        return [torch.cat([front, each]) for each in rest.split(sizes)]


def shared_batch(
    rows: Sequence[SharedRow], dtype: torch.dtype, items: Sequence[Encoded] = ()
) -> Batch:
    """Some rows as a batch.

    Args:
        rows: The rows.
        dtype: The type in which the model computes.
        items: The texts with their answers by the rows' indices, none of which begins in what
            texts share. Without them nothing is supervised.
    """
    longest = max(map(len, rows))
    input_ids = torch.zeros(len(rows), longest, dtype=torch.long)
    position_ids = torch.zeros(len(rows), longest, dtype=torch.long)
    seen = torch.zeros(len(rows), longest, longest, dtype=torch.bool)
    seen[:, :, 0] = True  # Padding sees something, lest its attention be a division by zero.
    positions: list[int] = []
    labels: list[int] = []
    of_row: list[int] = []
    for number, row in enumerate(rows):
        input_ids[number, : len(row)] = torch.tensor(row.input_ids)
        position_ids[number, : len(row)] = torch.tensor(row.position_ids)
        seen[number, : len(row), : len(row)] = row.seen
        behind = number * longest  # Tokens in front of the rest of a text that are not its own.
        for index in row.indices if items else ():
            first = behind + len(items[index].prompt_ids) - 1
            positions.extend(range(first, first + len(items[index].answer_ids)))
            labels.extend(items[index].answer_ids)
            of_row.extend([number] * len(items[index].answer_ids))
            behind += len(items[index]) - row.shared
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    at, wanted, number_of = (
        torch.tensor(each, dtype=torch.long) for each in (positions, labels, of_row)
    )
    return Batch(input_ids, mask[:, None], at, wanted, number_of, position_ids)


def rows_together(
    rows: Sequence[SharedRow],
    most: int,
    fits: Callable[[Sequence[SharedRow]], bool] = lambda rows: True,
) -> Iterator[list[SharedRow]]:
    """Rows that run in one pass.

    Args:
        rows: The rows.
        most: Tokens of a pass. Half of them are used, for what is masked out takes time as well.
        fits: Whether a pass may have these rows.
    """
    count = max(1, most // (2 * ROW_TOKENS))
    some: list[SharedRow] = []
    for row in rows:
        if some and (len(some) == count or not fits([*some, row])):
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def shared_rows(
    texts: Sequence[Sequence[int]],
    most: int,
    *,
    ends: Sequence[int] | None = None,
    fits: Callable[[Sequence[int]], bool] = lambda indices: True,
) -> tuple[list[SharedRow], list[int]]:
    """Lay texts with a common beginning in rows.

    Args:
        texts: Token ids of each text.
        most: Tokens of a row at most.
        ends: How many tokens of each text may belong to a beginning. None for all but the last.
        fits: Whether a row may hold these texts.

    Returns:
        The rows, and the indices of the texts that are in none.
    """
    limits = [len(text) - 1 for text in texts] if ends is None else list(ends)
    rows, taken = [], set()
    for group, shared in _groups(texts, limits, most // 2):
        row: list[int] = []
        for index in (*group, None):
            more = row if index is None else [*row, index]
            tokens = shared + sum(len(texts[each]) - shared for each in more)
            if index is None or tokens > most or not fits(more):
                if len(row) > 1:
                    rows.append(SharedRow(tuple(row), tuple(tuple(texts[i]) for i in row), shared))
                    taken.update(row)
                row = []
            if index is not None:
                row.append(index)
    return rows, [index for index in range(len(texts)) if index not in taken]


def _groups(
    texts: Sequence[Sequence[int]], limits: Sequence[int], most: int
) -> Iterator[tuple[list[int], int]]:
    """Texts that begin alike, in their given order, with how many tokens all of them share."""
    order = sorted(range(len(texts)), key=lambda index: tuple(texts[index]))
    group: list[int] = []
    shared = 0
    for index in order:
        own = min(limits[index], most)
        common = own
        if group:
            common = min(own, shared, _common(texts[group[-1]], texts[index]))
        if group and common < LEAST_SHARED:
            yield sorted(group), shared
            group, common = [], own
        group.append(index)
        shared = common
    if group and shared >= LEAST_SHARED:
        yield sorted(group), shared


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common from their first on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))

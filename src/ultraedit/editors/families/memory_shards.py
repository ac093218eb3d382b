"""What WISE remembers beside its side memory: closed shards, and how they are merged.

TIES is the merging of Yadav et al. (2023), https://arxiv.org/abs/2306.01708, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ultraedit.core.types import State

NEW, OLD = 0.4, 0.6
"""Weights of new shards and of the memory that there is, where all go into one."""


@dataclass(frozen=True)
class Shard:
    """A closed memory."""

    change: Tensor
    """To the unedited weight. float32, shape (d_in, d_out)."""

    least: float
    """Least distance of an edit that it was written for."""


@dataclass
class MemoryStore:
    """The closed memories of a run, and how many edits it has made."""

    edits: int = 0
    least: float = float("inf")
    """Least distance of an edit of the side memory."""
    shards: list[Shard] = field(default_factory=list)

    @classmethod
    def unpack(cls, state: State) -> MemoryStore:
        """Read it out of an editor's state."""
        names = sorted(name for name in state if name.startswith("memory/"))
        shards = [
            Shard(state[name], float(state[name.replace("memory/", "least/")])) for name in names
        ]
        return cls(int(state["edits"]), float(state["least"]), shards)

    def pack(self) -> State:
        """As named tensors."""
        state = {
            "edits": torch.tensor(self.edits),
            "least": torch.tensor(self.least, dtype=torch.float64),
        }
        for number, shard in enumerate(self.shards):
            state[f"memory/{number:04d}"] = shard.change
            state[f"least/{number:04d}"] = torch.tensor(shard.least, dtype=torch.float64)
        return state

    def close(self, side: Tensor) -> None:
        """Take the side memory in; the next one begins empty."""
        self.shards.append(Shard(side, self.least))
        self.least = float("inf")

    def merge(self, count: int, density: float, *, into_one: bool) -> None:
        """Merge the newest memories.

        Args:
            count: How many.
            density: Share of each that is kept.
            into_one: Whether they join the merged one that there is, if there is one.
        """
        new, older = self.shards[-count:], self.shards[:-count]
        if into_one and older:
            new, older = [*new, older[-1]], older[:-1]
            weights = [*[NEW / count] * count, OLD]
        else:
            weights = [1 / count] * count
        change = ties([shard.change for shard in new], weights, density)
        self.shards = [*older, Shard(change, min(shard.least for shard in new))]


def ties(changes: Sequence[Tensor], weights: Sequence[float], density: float) -> Tensor:
    """Merge changes of one weight: trim each, elect a sign per entry, average what agrees with it.

    Args:
        changes: The changes, of one shape.
        weights: How much each counts.
        density: Share of the entries of each that is kept, the largest first.
    """
    total, agreeing = torch.zeros_like(changes[0]), torch.zeros_like(changes[0])
    trimmed = [trim(change, density) for change in changes]
    elected = torch.zeros_like(changes[0])
    for change, weight in zip(trimmed, weights, strict=True):
        elected.add_(change, alpha=weight)
    elected.sign_()
    for change, weight in zip(trimmed, weights, strict=True):
        agrees = (change.sign() == elected) & (change != 0)
        total.add_(change * agrees, alpha=weight)
        agreeing.add_(agrees.to(total.dtype), alpha=weight)
    return torch.where(agreeing > 0, total / agreeing.clamp(min=1e-30), 0)


def trim(change: Tensor, density: float) -> Tensor:
    """Keep the entries of largest magnitude, set the others to zero.

    Args:
        change: Any shape.
        density: Share of the entries that is kept.
    """
    flat = change.flatten()
    kept = flat.abs().topk(int(density * flat.numel()), sorted=False).indices
    trimmed = torch.zeros_like(flat)
    trimmed[kept] = flat[kept]
    return trimmed.view_as(change)


def most_memories(edits: int, save_freq: int, merge_freq: int, *, retrieve: bool) -> int:
    """The most closed memories that a run of WISE has at any moment.

    Args:
        edits: Edits of the run.
        save_freq: Edits after which the side memory is closed.
        merge_freq: Edits after which the newest closed ones become one.
        retrieve: Whether the merged ones stay apart; else they too become one.
    """
    merged, single = divmod(edits // save_freq, merge_freq // save_freq)
    if not retrieve:
        merged = min(merged, 1)
    # Just before the last merge there were all of its parts beside those merged earlier.
    before = max(0, merged - 1 if retrieve else min(merged, edits // merge_freq - 1))
    return max(merged + single, before + merge_freq // save_freq if edits >= merge_freq else 0)

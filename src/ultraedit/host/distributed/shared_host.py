"""One model on several processes: each traces, asks and searches its share.

The first process has a `SharedHost`, which editors and evaluations use as any other; every other
process keeps a plain `ModelHost` (`workers`). What can be divided is divided here, and what comes
back is put together as if one process had done it all. What an editor computes besides, such as
the solution of a turn, the first process computes alone and sends out as a patch, so the weights
are the same everywhere.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Encoded, longest_first
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import (
    Edit,
    LayerSignal,
    Master,
    Observer,
    OffsetGoal,
    Offsets,
    OffsetSearch,
    Patch,
    Recalled,
    Routed,
    Tokens,
    TracedRows,
    Turn,
)
from ultraedit.host import trace
from ultraedit.host.distributed import Copies, in_order, split
from ultraedit.host.host import ModelHost
from ultraedit.models.weights import EditedWeights

if TYPE_CHECKING:
    from ultraedit.host.second_moments import Statistics
    from ultraedit.models import LanguageModel


class SharedWeights(EditedWeights):
    """Edited weights whose every change is made in the other processes too.

    A change that is taken back again, as by `applied`, is sent only if one of them is asked
    something meanwhile.
    """

    def __init__(self, modules: Mapping[str, nn.Module], master: Master, copies: Copies) -> None:
        """Remember the unedited weights; see `EditedWeights`."""
        super().__init__(modules, master)
        self._copies = copies
        self._passing = 0
        self._unsent: list[tuple[str, tuple[Any, ...]]] = []
        self._sent = 0

    def apply(self, patch: Patch) -> None:
        """Add a patch to the weights of all processes: all of it, or nothing."""
        super().apply(patch)
        self._note("apply", patch)

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go back, or on, to the changes of a snapshot, in all processes."""
        super().restore(snapshot)
        self._note("restore", snapshot)

    def reset(self) -> None:
        """Go back to the unedited weights, in all processes."""
        super().reset()
        self._note("reset")

    @contextmanager
    def applied(self, patch: Patch) -> Iterator[None]:
        """Hold the model as if a patch were applied, and restore it exactly afterwards."""
        with self._for_now(), super().applied(patch):
            yield

    @contextmanager
    def unedited(self) -> Iterator[None]:
        """Hold the model as it was before any patch, and restore it exactly afterwards."""
        with self._for_now(), super().unedited():
            yield

    def send(self) -> None:
        """Send the other processes the changes that they do not have yet."""
        if self._unsent:
            self._copies.send(_repeat, self._unsent)
            self._unsent = []
            self._sent += 1

    def _note(self, method: str, *arguments: Any) -> None:
        self._unsent.append((method, arguments))
        if not self._passing:
            self.send()

    @contextmanager
    def _for_now(self) -> Iterator[None]:
        """Changes that leave the weights as they were."""
        unsent, sent = len(self._unsent), self._sent
        self._passing += 1
        try:
            yield
        finally:
            self._passing -= 1
            if self._sent == sent:
                del self._unsent[unsent:]
            elif not self._passing:
                self.send()


class SharedHost(ModelHost):
    """A host whose work is divided among all processes of a job."""

    def __init__(
        self,
        language_model: LanguageModel,
        patterns: Sequence[str],
        master: Master,
        statistics: Statistics | None,
        copies: Copies,
    ) -> None:
        """Choose the modules to edit; see `ModelHost`.

        Args:
            language_model: The loaded model.
            patterns: Module patterns.
            master: What accumulates the changes.
            statistics: Where second moments come from. This process collects them alone.
            copies: Hosts of the same model, modules and master in the other processes.
        """
        self._copies = copies
        super().__init__(language_model, patterns, master, statistics)

    def _edited(self, modules: Mapping[str, nn.Module], master: Master) -> EditedWeights:
        return SharedWeights(modules, master, self._copies)

    def require_same_weights(self) -> None:
        """Check that all processes have loaded the same model.

        Raises:
            ConfigError: If one of them has other weights, as where files differ by machine.
        """
        ours, *others = self._together(ModelHost.fingerprint, [()] * self._copies.size)
        if any(each != ours for each in others):
            raise ConfigError(
                f"The processes of this job find different weights for {self.language_model.name}."
                " Put the same files on every machine."
            )

    def signals(self, turn: Turn, tokens: Tokens = "answer") -> dict[str, LayerSignal]:
        """Run the turn's edits forward and backward, each process some of them."""
        items = self.encode([(edit.prompt, edit.target) for edit in turn.edits])
        shares = split(longest_first(items), self._copies.size)
        parts = [(tuple(turn.edits[i] for i in share), tokens) for share in shares]
        return _interleaved(self._together(_signals, parts))

    def trace_texts(
        self, texts: Sequence[Encoded], *, sampled: bool = False, patch: Patch | None = None
    ) -> TracedRows:
        """Losses, keys and gradients of texts, each process of some of them.

        A shared row is computed whole by one process: how often a beginning has a row of its own
        must not depend on their number.
        """
        rows = self.shared_rows(texts)
        shares = split_with_rows(texts, rows, self._copies.size)
        parts = [
            ([texts[index] for index in share], rows_within(rows, share), sampled, patch)
            for share in shares
        ]
        return _joined(self._together(_trace, parts), shares)

    @contextmanager
    def keeping_states(self) -> Iterator[None]:
        """Compute what lies below the lowest edited layer once per text, in every process."""
        self._copies.send(_keep_states)
        try:
            with super().keeping_states():
                yield
        finally:
            self._copies.send(_drop_states)

    def predict(
        self, items: Sequence[Encoded], observer: Observer | None = None, *, keep: bool = True
    ) -> list[tuple[int, ...]]:
        """The model's top choice at every supervised position, each process of some items."""
        if self.trunk is None:
            shares = split(longest_first(items), self._copies.size)
        else:  # What one process has kept of an item is of use to it alone.
            shares = [[] for _ in range(self._copies.size)]
            for index, item in enumerate(items):
                shares[_owner(item, len(shares))].append(index)
        parts = [([items[i] for i in share],) for share in shares]
        return in_order(self._together(partial(_predict, keep), parts, observer), shares)

    def answer(
        self,
        prompts: Sequence[str],
        max_new_tokens: Sequence[int],
        observer: Observer | None = None,
        lines: Sequence[int] | None = None,
    ) -> list[str]:
        """Generate answers greedily, each process those to some prompts."""
        lines = [1] * len(prompts) if lines is None else lines
        order = sorted(range(len(prompts)), key=lambda i: (-max_new_tokens[i], -len(prompts[i])))
        shares = split(order, self._copies.size)
        parts = [
            ([prompts[i] for i in s], [max_new_tokens[i] for i in s], [lines[i] for i in s])
            for s in shares
        ]
        return in_order(self._together(_answer, parts, observer), shares)

    def search_offsets(
        self, path: str, goals: Sequence[OffsetGoal], search: OffsetSearch
    ) -> Offsets:
        """Search offsets of a decoder layer's outputs, each process those of some edits."""
        shares = split(range(len(goals)), self._copies.size)
        parts = [(path, [goals[i] for i in share], search) for share in shares]
        searched = [each for each in self._together(_search, parts) if each is not None]
        back = torch.argsort(torch.tensor([index for share in shares for index in share]))
        joined = (torch.cat(tensors) for tensors in zip(*searched, strict=True))
        return Offsets(*(tensor[back.to(tensor.device)] for tensor in joined))

    def use_trunk(
        self,
        *,
        budget_bytes: int = trace.BUDGET_BYTES,
        folder: str | os.PathLike[str] | None = None,
        for_edits: bool = True,
    ) -> None:
        """Compute what lies below the lowest edited layer once per sequence, in every process."""
        super().use_trunk(budget_bytes=budget_bytes, folder=folder, for_edits=for_edits)
        self._copies.send(_use_trunk, budget_bytes, folder, for_edits)

    def drop_trunk(self) -> None:
        """Forget what the trunk has kept, in every process."""
        super().drop_trunk()
        self._copies.send(ModelHost.drop_trunk)

    @contextmanager
    def _laid(self, view: Routed | Recalled) -> Iterator[None]:
        assert isinstance(self.weights, SharedWeights)
        self.weights.send()
        self._copies.send(_lay, view)
        try:
            with super()._laid(view):
                yield
        finally:
            self._copies.send(_take_away)

    def _together(
        self,
        function: Callable[..., Any],
        parts: Sequence[tuple[Any, ...]],
        observer: Observer | None = None,
    ) -> list[Any]:
        """Let every process do its part; what each returns, in their order."""
        assert isinstance(self.weights, SharedWeights)
        self.weights.send()
        with self._copies.gather(function, parts[1:]) as others:
            mine = function(self, *parts[0], *([] if observer is None else [observer]))
        if observer is not None:
            observer.advance(sum(map(len, others)))
        return [mine, *others]


# What each process does: the host is its own, and the work that of a plain `ModelHost`.


def _signals(host: ModelHost, edits: tuple[Edit, ...], tokens: Tokens) -> dict[str, LayerSignal]:
    return ModelHost.signals(host, Turn(0, edits), tokens) if edits else {}


def _predict(
    keep: bool, host: ModelHost, items: Sequence[Encoded], observer: Observer | None = None
) -> list[tuple[int, ...]]:
    return ModelHost.predict(host, items, observer, keep=keep)


def _trace(
    host: ModelHost,
    texts: Sequence[Encoded],
    rows: Sequence[trace.SharedRow],
    sampled: bool,
    patch: Patch | None,
) -> TracedRows | None:
    if not texts:
        return None
    return host.trace_in_rows(texts, rows, sampled=sampled, patch=patch)


_KEEPING: dict[ModelHost, ExitStack] = {}
"""What drops the states of a host, while it keeps some."""


def _keep_states(host: ModelHost) -> None:
    _KEEPING[host] = stack = ExitStack()
    stack.enter_context(host.keeping_states())


def _drop_states(host: ModelHost) -> None:
    _KEEPING.pop(host).close()


def _answer(
    host: ModelHost,
    prompts: Sequence[str],
    max_new_tokens: Sequence[int],
    lines: Sequence[int],
    observer: Observer | None = None,
) -> list[str]:
    return ModelHost.answer(host, prompts, max_new_tokens, observer, lines)


def _search(
    host: ModelHost, path: str, goals: Sequence[OffsetGoal], search: OffsetSearch
) -> Offsets | None:
    return ModelHost.search_offsets(host, path, goals, search) if goals else None


def _use_trunk(
    host: ModelHost, budget_bytes: int, folder: str | os.PathLike[str] | None, for_edits: bool
) -> None:
    host.use_trunk(budget_bytes=budget_bytes, folder=folder, for_edits=for_edits)


_LAID: dict[ModelHost, ExitStack] = {}
"""What takes the view of a host away, while it has one."""


def _lay(host: ModelHost, view: Routed | Recalled) -> None:
    _LAID[host] = stack = ExitStack()
    stack.enter_context(host.patched(view))


def _take_away(host: ModelHost) -> None:
    _LAID.pop(host).close()


def _repeat(host: ModelHost, changes: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    """Change the weights as those of the first process were changed."""
    for method, arguments in changes:
        getattr(host.weights, method)(*arguments)


def _interleaved(parts: Sequence[Mapping[str, LayerSignal]]) -> dict[str, LayerSignal]:
    """Rows of all processes in the order of the whole turn.

    Each has edits that were dealt out in that order: its k-th is number k * size + rank of all.
    """
    joined = {}
    for path in next((part for part in parts if part), {}):
        own = [(rank, part[path]) for rank, part in enumerate(parts) if part]
        segments = torch.cat([signal.segments * len(parts) + rank for rank, signal in own])
        segments, order = torch.sort(segments, stable=True)
        masks = [signal.supervised for _, signal in own if signal.supervised is not None]
        joined[path] = LayerSignal(
            torch.cat([signal.keys for _, signal in own])[order],
            torch.cat([signal.grads for _, signal in own])[order],
            segments,
            torch.cat(masks)[order] if masks else None,
        )
    return joined


def _joined(parts: Sequence[TracedRows | None], shares: Sequence[Sequence[int]]) -> TracedRows:
    """Rows of all processes, whose segments are numbers of all texts again."""
    own = [(part, torch.tensor(share)) for part, share in zip(parts, shares, strict=True) if part]
    losses = torch.zeros(sum(map(len, shares)), dtype=torch.float64)
    for part, share in own:
        losses[share] = part.losses
    signals = {}
    for path in own[0][0].signals:
        rows = [part.signals[path] for part, _ in own]
        named = [
            share.to(each.segments.device)[each.segments]
            for each, (_, share) in zip(rows, own, strict=True)
        ]
        signals[path] = LayerSignal(
            torch.cat([each.keys for each in rows]),
            torch.cat([each.grads for each in rows]),
            torch.cat(named),
        )
    return TracedRows(losses, signals)


def split_with_rows(
    texts: Sequence[Encoded], rows: Sequence[trace.SharedRow], size: int
) -> list[list[int]]:
    """Which texts each process has, by index; all those of a row have the same one."""
    owners = [_owner(text, size) for text in texts]  # What one has kept is of use to it alone.
    for row in rows:
        for index in row.indices:
            owners[index] = owners[row.indices[0]]
    return [[at for at, owner in enumerate(owners) if owner == rank] for rank in range(size)]


def rows_within(rows: Sequence[trace.SharedRow], share: Sequence[int]) -> list[trace.SharedRow]:
    """The rows of some of the texts, which are numbered anew from 0."""
    place = {index: at for at, index in enumerate(share)}
    return [row.renumbered(place) for row in rows if row.indices[0] in place]


def _owner(item: Encoded, size: int) -> int:
    """The process that an item belongs to, whatever else is asked with it."""
    return zlib.crc32(array("q", item.input_ids).tobytes()) % size

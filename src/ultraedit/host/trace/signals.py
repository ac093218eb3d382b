"""What the edited layers see: their inputs and the gradients at their outputs.

No weight ever gets a gradient. The weights are frozen, so the graph starts at the output of
the lowest edited layer, and everything below it runs as plain inference. Logits are computed
at the supervised positions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Batch, Encoded, collate, longest_first, token_batches
from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.core.types import LayerSignal, Tokens
from ultraedit.host.trace.shared_prefix import (
    SharedRow,
    row_tokens,
    rows_together,
    shared_batch,
    shared_rows,
)
from ultraedit.models.attached import prompts_at

MAX_TOKENS = {"cpu": 512, "cuda": 8192}
"""Tokens of one forward pass by kind of device, padding included. On two CPU cores 2,048 took a
third longer than 512: the activations of a layer no longer fit the cache."""

MAX_LOGITS = 2**25
"""Logits of one forward pass (128 MiB in float32): a vocabulary of 262,144 gets 128 rows."""


class FrozenStates(Protocol):
    """States below the lowest edited layer, computed once: `trunk.Trunk` has them."""

    def windows(self, items: Sequence[Encoded]) -> Iterator[range]:
        """Cut items, in their order, into parts whose states fit into memory together."""
        ...

    def states(self, items: Sequence[Encoded], *, keep: bool = True) -> list[Tensor]:
        """Hidden states at the lowest edited block, by item."""
        ...

    def feeding(self, states: Sequence[Tensor], positions: Tensor) -> AbstractContextManager[None]:
        """Let the model begin at the lowest edited block."""
        ...


@contextmanager
def head_at(model: nn.Module, positions: Tensor) -> Iterator[None]:
    """Let the model's output head see the given positions alone.

    Args:
        model: A causal language model with `get_output_embeddings`.
        positions: Indices into the flattened (rows x length) batch. Shape (n,). Inside the
            context the model returns logits of shape (1, n, vocabulary).
    """

    def select(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[positions.to(hidden.device)].unsqueeze(0),)

    handle = model.get_output_embeddings().register_forward_pre_hook(select)  # type: ignore[operator]
    try:
        yield
    finally:
        handle.remove()


def rows_of(model: nn.Module, items: Sequence[Encoded]) -> list[SharedRow]:
    """Lay encoded pairs that begin alike in rows of their own, as `shared_rows` does."""
    rows, _ = shared_rows(
        [item.input_ids for item in items],
        row_tokens(model),
        ends=[len(item.prompt_ids) - 1 for item in items],
        fits=partial(_has_room, model, items),
    )
    return rows


def shared_passes(
    model: nn.Module, items: Sequence[Encoded], rows: Sequence[SharedRow], trunk: FrozenStates
) -> Iterator[tuple[list[SharedRow], Batch, AbstractContextManager[None]]]:
    """Put rows of encoded pairs into batches.

    Args:
        model: The language model.
        items: Encoded pairs.
        rows: Rows of some of them, from `rows_of`.
        trunk: Where to begin above.

    Yields:
        Rows, their batch on the model's device, and a context to run it in, as `passes` has it.
    """
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    for some in rows_together(
        rows,
        max_tokens(device),
        lambda some: _has_room(model, items, (index for row in some for index in row.indices)),
    ):
        states = [row.joined(trunk.states([items[at] for at in row.indices])) for row in some]
        batch = shared_batch(some, states[0].dtype, items).to(device)
        yield some, batch, trunk.feeding(states, batch.positions)


def _has_room(model: nn.Module, items: Sequence[Encoded], indices: Iterable[int]) -> bool:
    """Whether the logits of some items are few enough for one pass."""
    return sum(len(items[index].answer_ids) for index in indices) <= max_answer_tokens(model)


def batches(model: nn.Module, items: Sequence[Encoded]) -> Iterator[tuple[list[int], Batch]]:
    """Cut encoded pairs into batches that suit a model, longest first.

    Yields:
        The indices of the items, and their batch on the model's device.
    """
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    limits = {"max_tokens": max_tokens(device), "max_answer_tokens": max_answer_tokens(model)}
    for indices in token_batches(items, **limits):
        yield indices, collate([items[index] for index in indices]).to(device)


def max_answer_tokens(model: nn.Module) -> int:
    """Supervised tokens of one forward pass, which bound its logits."""
    vocabulary = model.get_output_embeddings().weight.shape[0]  # type: ignore[operator]
    return int(max(1, MAX_LOGITS // vocabulary))


def max_tokens(device: torch.device) -> int:
    """Tokens of one forward pass on a device, padding included."""
    return MAX_TOKENS.get(device.type, MAX_TOKENS["cpu"])


def passes(
    model: nn.Module,
    items: Sequence[Encoded],
    trunk: FrozenStates | None = None,
    *,
    keep: bool = True,
) -> Iterator[tuple[list[int], Batch, AbstractContextManager[None]]]:
    """Cut encoded pairs into batches, longest first, each with a context to run it in.

    Args:
        model: The language model.
        items: Encoded pairs.
        trunk: Where to begin above, with states computed once. None runs the whole model.
        keep: Whether the trunk's states will be asked for again.

    Yields:
        The indices of the items, their batch on the model's device, and the context.
    """
    if trunk is None:
        for indices, batch in batches(model, items):
            yield indices, batch, nullcontext()
        return
    order = longest_first(items)
    ordered = [items[index] for index in order]
    for window in trunk.windows(ordered):
        part = ordered[window.start : window.stop]
        states = trunk.states(part, keep=keep)
        for places, batch in batches(model, part):
            indices = [order[window.start + place] for place in places]
            rows = [states[place] for place in places]
            yield indices, batch, trunk.feeding(rows, batch.positions)


def supervised_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Run a batch. Logits at its supervised positions, shape (n, vocabulary)."""
    placed = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    with head_at(model, batch.positions), prompts_at(model, batch.asked):
        output = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=False,
            **placed,
        )
    logits: Tensor = output.logits[0]
    return logits


def layer_signals(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    items: Sequence[Encoded],
    tokens: Tokens = "answer",
    trunk: FrozenStates | None = None,
) -> dict[str, LayerSignal]:
    """Trace the edited layers at the supervised tokens of encoded edits, or at all of them.

    The loss is the sum of the cross-entropy over all supervised tokens, so the gradients do not
    depend on how the items are batched.

    Args:
        model: The language model, its weights frozen.
        modules: The edited linear layers by path.
        items: The edits, encoded.
        tokens: Which tokens become rows.
        trunk: What has the states below the lowest edited layer, or computes them once.

    Returns:
        Per path its `LayerSignal`, rows in the order that `LayerSignal` defines.

    Raises:
        ConfigError: If a module does not see every token, or is not reached at all.
        NumericalError: If the loss is not finite.
    """
    record = Record(modules)
    with record.attached(), torch.enable_grad():
        for _, batch, below in passes(model, items, trunk):
            record.positions = batch.positions if tokens == "answer" else attended(batch)
            with below:
                logits = supervised_logits(model, batch)
            torch.autograd.backward(logits, cross_entropy_gradient(logits, batch.labels))
    order = [items[index] for index in longest_first(items)]
    if tokens == "answer":
        segments = [rank for rank, item in enumerate(order) for _ in item.answer_ids]
        return record.signals(torch.tensor(segments))
    segments = [rank for rank, item in enumerate(order) for _ in range(len(item))]
    supervised = [at >= len(item.prompt_ids) - 1 for item in order for at in range(len(item))]
    return record.signals(torch.tensor(segments), torch.tensor(supervised))


def attended(batch: Batch) -> Tensor:
    """Positions in the flattened batch of all tokens that are no padding. Shape (m,)."""
    if batch.position_ids is not None:  # A token that is no padding sees itself.
        own = batch.attention_mask[:, 0].diagonal(dim1=1, dim2=2) == 0
        return own.flatten().nonzero().squeeze(1)
    return batch.attention_mask.flatten().nonzero().squeeze(1)


@torch.no_grad()
def cross_entropy_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the summed cross-entropy at the logits: softmax minus one-hot. (n, vocabulary).

    Written out because the loss itself is not needed, and autograd would keep two more
    tensors of this size.
    """
    gradient = torch.softmax(logits, dim=-1, dtype=torch.float32)
    chosen = gradient.gather(1, labels.to(gradient.device).unsqueeze(1))
    if not chosen.is_meta and not bool(torch.isfinite(chosen).all()):
        raise NumericalError(
            "The model's logits are not finite on these edits. If earlier turns were applied, the "
            "model has collapsed: lower `eta` or raise `ridge`; otherwise try float32."
        )
    gradient.scatter_add_(1, labels.to(gradient.device).unsqueeze(1), -torch.ones_like(chosen))
    return gradient.to(logits.dtype)


class Record:
    """Collects keys and gradients, batch after batch, through hooks on the edited layers."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules
        self.positions = torch.empty(0, dtype=torch.long)
        self.keys: dict[str, list[Tensor]] = {path: [] for path in modules}
        self.grads: dict[str, list[Tensor]] = {path: [] for path in modules}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Listen to every forward and backward pass."""
        handles = [
            module.register_forward_hook(partial(self._forward, path))
            for path, module in self.modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _forward(self, path: str, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        self.keys[path].append(self._rows(path, args[0].detach()))
        start = output
        if not output.requires_grad:
            # The lowest edited layer: the graph starts here, at its output.
            start = output.detach().requires_grad_()
        # A hook is told of the gradient at the value that it was registered on, also where the
        # model, as Falcon does, adds to the output in place.
        start.register_hook(lambda grad: self.grads[path].append(self._rows(path, grad)))
        return start.clone() if start.is_leaf else start

    def _rows(self, path: str, values: Tensor) -> Tensor:
        flat = values.reshape(-1, values.shape[-1])
        positions = self.positions.to(values.device)
        if len(flat) <= int(self.positions[-1]):
            raise ConfigError(
                f"{path} sees {len(flat)} of the tokens only, as a layer inside a mixture of "
                "experts does. Choose layers that see every token."
            )
        rows = flat[positions]
        return rows if rows.dtype == torch.float64 else rows.float()

    def signals(self, segments: Tensor, supervised: Tensor | None = None) -> dict[str, LayerSignal]:
        """Join what was collected, each layer's rows in one piece.

        Args:
            segments: Rank of each row's edit. Shape (n,).
            supervised: Whether each row is supervised. Shape (n,).

        Raises:
            ConfigError: If a module was never used.
        """
        silent = [path for path in self.modules if not self.grads[path] and len(segments)]
        if silent:
            raise ConfigError(f"The model never used {', '.join(silent)}. Choose other modules.")
        return {
            path: LayerSignal(
                torch.cat(self.keys[path]),
                torch.cat(self.grads[path]),
                segments.to(self.keys[path][0].device),
                None if supervised is None else supervised.to(self.keys[path][0].device),
            )
            for path in self.modules
            if self.keys[path]
        }

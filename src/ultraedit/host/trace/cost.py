"""Trace a batch without numbers: how many operations and how many bytes it would take.

Tensors on torch's meta device have shapes and no contents, so a model of any size runs through
its own code in no time and in no memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from ultraedit.core.errors import ConfigError
from ultraedit.host.trace.signals import Record, cross_entropy_gradient, head_at


class Cost(NamedTuple):
    """What one batch takes."""

    flops: int
    """Floating-point operations of all matrix products, forward and backward."""

    bytes: int
    """Most memory at any moment, beside the weights."""


def dry_run(
    model: nn.Module, modules: Mapping[str, nn.Module], rows: int, length: int, answers: int
) -> Cost:
    """Trace one batch of equal rows as `layer_signals` does.

    Args:
        model: A model on the meta device, its weights frozen.
        modules: Its edited layers by path.
        rows: Rows of the batch.
        length: Tokens of each.
        answers: Supervised tokens of each, at its end. At most `length`.

    Returns:
        What that takes, keys and gradients included.

    Raises:
        ConfigError: If the model cannot be run without numbers.
    """
    meta = torch.device("meta")
    starts = torch.arange(rows).unsqueeze(1) * length + (length - answers)
    positions = (starts + torch.arange(answers)).flatten()
    ids = torch.zeros(rows, length, dtype=torch.long, device=meta)
    failed: Exception | None = None
    for mask in _masks(rows, length):
        record = Record(modules)
        record.positions = positions
        try:
            with record.attached(), torch.enable_grad(), FlopCounterMode(display=False) as counter:
                live = _LiveBytes(model)
                with live:
                    _one_batch(model, ids, mask, positions)
        except Exception as error:
            # Which error a model raises that does not take a mask is its own affair.
            failed = failed or error
        else:
            return Cost(counter.get_total_flops(), live.peak)
    cause = (str(failed) or type(failed).__name__).splitlines()[0].rstrip(".")
    raise ConfigError(
        f"A {type(model).__name__} with this config cannot be run without its weights: {cause}."
    ) from failed


def _masks(rows: int, length: int) -> Iterator[Tensor | None]:
    """Masks that let every token through, in the forms that models take.

    The first is ready-made: to make one, most models would look at numbers. Those with ALiBi, and
    those without attention, want a mark per token; OPT wants none at all.
    """
    meta = torch.device("meta")
    yield torch.ones(rows, 1, length, length, dtype=torch.bool, device=meta)
    yield torch.ones(rows, length, dtype=torch.long, device=meta)
    yield None


def _one_batch(model: nn.Module, ids: Tensor, mask: Tensor | None, positions: Tensor) -> None:
    labels = torch.zeros(len(positions), dtype=torch.long, device=ids.device)
    with head_at(model, positions):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[0]
    torch.autograd.backward(logits, cross_entropy_gradient(logits, labels))


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, and remembers the most."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}
        # Held, so that a storage keeps its identity; a weight's views are no memory.
        self._weights = [t.untyped_storage() for t in (*model.parameters(), *model.buffers())]
        self._ours = {id(storage) for storage in self._weights}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._note, result)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._ours or key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)

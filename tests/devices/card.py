"""A pretended card: tensors that say they are on another device, and compute on the CPU.

A build of torch without CUDA knows no second device that computes. Here is one: `Card` wraps a
tensor of the CPU, says ``card:N`` when it is asked for its device, and refuses what CUDA refuses,
above all an operation on tensors of two devices and a generator of the CPU that should fill a
tensor of a card. Unlike `torch._subclasses.fake_tensor.FakeTensorMode` it has values, so that code
whose path depends on them runs, and gradients.

It renames torch's spare backend for good, so it belongs in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (  # type: ignore[attr-defined]
    _setup_privateuseone_for_python_backend,
)

_setup_privateuseone_for_python_backend("card")

MOVING = {"aten::copy_", "aten::_to_copy"}
"""Operations that take tensors of two devices."""

INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
"""CUDA takes an index from the CPU, and nothing else."""

HOST_READS = {"count": 0}
"""How often a value of a card was read by the program, for which CUDA waits."""


class Card(Tensor):
    """A tensor of a pretended card."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, number: int = 0) -> Card:
        made: Card = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device("card", number),
        )
        return made

    def __init__(self, inner: Tensor, number: int = 0) -> None:
        self.inner = inner

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Card({self.inner!r}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """What torch does with a card where no dispatch mode sees it: literals and lists."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], Card):
            HOST_READS["count"] += 1
            return args[0].inner.tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]), *args[2:])
        if func not in (torch.tensor, torch.as_tensor, Tensor.new_tensor):
            return func(*args, **kwargs)
        device = kwargs.pop("device", None)
        if func is Tensor.new_tensor and device is None:
            device = args[0].device
        if device is None:
            return func(*args, **kwargs)
        if func is Tensor.new_tensor:
            func, args = torch.tensor, args[1:]
        return func(*args, **kwargs).to(device)


@contextmanager
def cards() -> Iterator[None]:
    """Let tensors be made on a card."""
    with _Literals(), _Cards():
        yield


class _Cards(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    cards = [tensor for tensor in tensors if isinstance(tensor, Card)]
    given = kwargs.get("device")
    if given is not None:
        device = torch.device(given)
        kwargs = kwargs | {"device": torch.device("cpu") if device.type == "card" else device}
    elif cards:
        device = cards[0].device
    else:
        return func(*args, **kwargs)
    if device.type != "card" and not cards:
        return func(*args, **kwargs)
    _refuse_mixing(name, tensors, args)
    if kwargs.get("generator") is not None and device.type == "card":
        raise RuntimeError(f"{name}: a generator of the CPU for a tensor of {device}")
    if name == "aten::_local_scalar_dense":
        HOST_READS["count"] += 1
    out = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if name == "aten::copy_":
        return args[0]
    if device.type != "card":
        return out
    number = device.index or 0
    wrapped = tree_map(lambda each: Card(each, number) if isinstance(each, Tensor) else each, out)
    if cards and name != "aten::_to_copy":
        return return_and_correct_aliasing(func, args, kwargs, wrapped)
    return wrapped


def _refuse_mixing(name: str, tensors: list[Tensor], args: Any) -> None:
    """Raise as CUDA does. A number without a dimension may come from the CPU."""
    if name in MOVING:
        return
    if name in INDEXING:
        tensors = [args[0], *(each for each in args[1] if each is not None and not _on_cpu(each))]
    places = {each.device for each in tensors if each.dim() or isinstance(each, Card)}
    if len(places) > 1:
        shapes = [(tuple(each.shape), str(each.device)) for each in tensors]
        raise RuntimeError(f"{name}: expected all tensors to be on one device, got {shapes}")


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Card) else value

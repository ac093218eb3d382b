"""What processes say to each other: anything that can be pickled, its tensors by themselves."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ultraedit.host.distributed.processes import gone, here

if TYPE_CHECKING:
    from torch import Tensor


class _Shape(NamedTuple):
    """A tensor that is on its way, as the other side makes room for it."""

    shape: tuple[int, ...]
    dtype: Any
    device: str
    transposed: bool
    """Whether it lies in memory as its transpose. A product of matrices may round differently if
    they lie differently."""


def send(value: Any, number: int) -> None:
    """Send anything to another process: its structure as a pickle, its tensors by themselves."""
    from torch import distributed

    file = io.BytesIO()
    pickler = _Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.dump(value)
    with _lost_if_it_fails():
        header = [(file.getvalue(), [shape for shape, _ in pickler.tensors])]
        distributed.send_object_list(header, number, group=here.group, device=_cpu())
        for _, raw in pickler.tensors:
            if raw.numel():
                distributed.send(raw, number, group=here.group)


def receive(number: int) -> Any:
    """Take what another process sends, waiting for it."""
    import torch
    from torch import distributed

    with _lost_if_it_fails():
        header: list[Any] = [None]
        distributed.recv_object_list(header, number, group=here.group, device=_cpu())
        content, shapes = header[0]
        tensors = []
        for shape, dtype, device, transposed in shapes:
            stored = shape[::-1] if transposed else shape
            room = torch.empty(stored, dtype=dtype, device=device)
            if room.numel():
                distributed.recv(_raw(room), number, group=here.group)
            tensors.append(room.T if transposed else room)
    unpickler = _Unpickler(io.BytesIO(content))
    unpickler.tensors = tensors
    return unpickler.load()


@contextmanager
def _lost_if_it_fails() -> Iterator[None]:
    """Turn a connection that is no more into an error for the user.

    Raises:
        ProcessError: If the process at the other end is gone, or was before.
    """
    import torch

    if here.broken:
        raise gone()
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # what torch.distributed raises for all that can happen
        raise gone() from error


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


def _raw(tensor: Tensor) -> Tensor:
    """The bytes of a contiguous tensor, which every backend can send."""
    import torch

    return tensor.reshape(-1).view(torch.uint8)


class _Pickler(pickle.Pickler):
    """Pickles everything but tensors, which it puts aside."""

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.tensors: list[tuple[_Shape, Tensor]] = []

    def persistent_id(self, value: Any) -> int | None:
        from torch import Tensor

        if not isinstance(value, Tensor):
            return None
        tensor = value.detach()
        transposed = tensor.ndim == 2 and not tensor.is_contiguous() and tensor.T.is_contiguous()
        stored = (tensor.T if transposed else tensor).contiguous()
        shape = _Shape(tuple(tensor.shape), tensor.dtype, tensor.device.type, transposed)
        self.tensors.append((shape, _raw(stored)))
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    """Puts the tensors back."""

    tensors: Sequence[Tensor] = ()

    def persistent_load(self, place: int) -> Tensor:
        return self.tensors[place]

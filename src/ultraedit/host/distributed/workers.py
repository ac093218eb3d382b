"""Copies of an object in other processes: remote calls from the first, a loop in the workers."""

from __future__ import annotations

import logging
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ultraedit.core.errors import UltraEditError
from ultraedit.host.distributed.messages import receive, send
from ultraedit.host.distributed.processes import FIRST, here, rank, size


class RemoteCall(NamedTuple):
    """A function that the first process calls in another."""

    copy: int
    """Number of the copy that it is about."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    makes: bool = False
    """Whether the function makes the copy. Otherwise it is called with it."""
    answers: bool = False
    """Whether the first process waits for what the function returns."""


class Copies:
    """The copies of one object that all other processes keep, as the first process sees them."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Let every other process make a copy; nobody waits for them here.

        Args:
            make: A function of a module, called there.
            arguments: What with. Tensors arrive on the device of the process.
        """
        self.size = size()
        self._number = next(here.copies)
        self._broadcast(RemoteCall(self._number, make, arguments, makes=True))

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function with each copy. If that fails, the next `gather` says so."""
        self._broadcast(RemoteCall(self._number, function, arguments))

    @contextmanager
    def gather(
        self, function: Callable[..., Any], shares: Sequence[tuple[Any, ...]]
    ) -> Iterator[list[Any]]:
        """Call a function with each copy, and do something else meanwhile.

        Args:
            function: A function of a module or a class, called with the copy first.
            shares: The other arguments, for each of the other processes.

        Yields:
            A list that holds what they returned, in the order of the processes, at the end.

        Raises:
            UltraEditError: If one of them could not do it, as it would have been raised here.
            ProcessError: If one of them is gone.
        """
        answers: list[Any] = []
        called = list(zip(range(1, self.size), shares, strict=True))
        here.busy = True  # If this is not reset below, nothing is sent any more.
        for number, arguments in called:
            send(RemoteCall(self._number, function, arguments, answers=True), number)
        try:
            yield answers
        except Exception:  # raised again below, whatever it is
            for number, _ in called:  # Received all the same, to be ready for what is next.
                receive(number)
            here.busy = False
            raise
        answers.extend(receive(number) for number, _ in called)
        here.busy = False
        for answer in answers:
            if isinstance(answer, _Failed):
                raise answer.error()

    def _broadcast(self, call: RemoteCall) -> None:
        if here.broken or here.busy:
            return
        here.busy = True
        for number in range(1, self.size):
            send(call, number)
        here.busy = False


def split(indices: Sequence[int], parts: int) -> list[list[int]]:
    """Split indices in turn: neighbors in a sorted list, which cost the same, are spread."""
    return [list(indices[part::parts]) for part in range(parts)]


def in_order(results: Sequence[Sequence[Any]], shares: Sequence[Sequence[int]]) -> list[Any]:
    """Put results back into the order of the indices that were split."""
    ordered: list[Any] = [None] * sum(map(len, shares))
    for own, indices in zip(results, shares, strict=True):
        for index, value in zip(indices, own, strict=True):
            ordered[index] = value
    return ordered


def worker_loop() -> None:
    """Execute the calls of the first process, until it says that it is done.

    Raises:
        ProcessError: If it is gone.
    """
    # Ctrl-C reaches every process; the first one ends the turn at work and then the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("ultraedit").setLevel(logging.CRITICAL)
    copies: dict[int, Any] = {}
    while (call := receive(FIRST)) is not None:
        result = _execute(call, copies)
        if call.answers:
            send(result, FIRST)
        elif isinstance(result, _Failed):
            copies[call.copy] = result


class _Failed(NamedTuple):
    """What a process could not do, as the first process is told of it."""

    number: int
    kind: type[UltraEditError] | None
    text: str

    def error(self) -> Exception:
        if self.kind is not None:
            return self.kind(self.text)
        return RuntimeError(f"Process {self.number} failed:\n{self.text}")


def _execute(call: RemoteCall, copies: dict[int, Any]) -> Any:
    """Execute a call. Returns the result, or the error."""
    try:
        if call.makes:
            copies[call.copy] = call.function(*call.arguments)
            return None
        copy = copies[call.copy]
        return copy if isinstance(copy, _Failed) else call.function(copy, *call.arguments)
    except UltraEditError as error:
        return _Failed(rank(), type(error), str(error))
    except Exception:  # It is told to the first process, which raises it.
        return _Failed(rank(), None, traceback.format_exc())

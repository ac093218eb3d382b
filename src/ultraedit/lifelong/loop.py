"""The turn loop: trace and solve, patch, record. The weights carry over from turn to turn."""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ultraedit.core.errors import NumericalError
from ultraedit.core.types import (
    Carried,
    CheckpointRecord,
    Editor,
    Recorder,
    State,
    Turn,
    TurnRecord,
)
from ultraedit.host.host import ModelHost

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None  # type: ignore[assignment]

_log = logging.getLogger("ultraedit")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of two settings in glibc's ``malloc.h``."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C, once the turn at work is recorded: the model is what the record says."""


@dataclass
class Progress:
    """Where a run stands: what the next turn needs, and what it has cost so far."""

    state: State
    turns: int = 0
    edits: int = 0
    seconds: float = 0.0
    """Wall time of all turns, evaluation excluded."""


@dataclass
class MemoryRecorder:
    """A recorder that keeps its records in two lists."""

    turns: list[TurnRecord] = field(default_factory=list)
    checkpoints: list[CheckpointRecord] = field(default_factory=list)

    def turn(self, record: TurnRecord, turn: Turn, carried: Carried) -> None:
        """Note a finished turn; nothing is kept of what it changed."""
        self.turns.append(record)

    def checkpoint(self, record: CheckpointRecord) -> None:
        """Note an evaluation."""
        self.checkpoints.append(record)


def run_turns(
    host: ModelHost,
    editor: Editor,
    turns: Iterable[Turn],
    recorder: Recorder,
    progress: Progress | None = None,
    after_turn: Callable[[Turn, Progress], None] | None = None,
) -> Progress:
    """Apply turns one after the other.

    Args:
        host: The model; its edited weights change.
        editor: The method.
        turns: The turns, read as they are needed.
        recorder: Told of every finished turn.
        progress: Where to go on from; from the start if None.
        after_turn: Called after each turn has been recorded, for checkpoints.

    Returns:
        The state after the last turn.

    Raises:
        NumericalError: If a turn gives an update that is not finite. The weights are then those
            of the turn before.
        Stopped: After Ctrl-C, once the turn at work is recorded.
        KeyboardInterrupt: After a second one, at once: the model may hold a part of a turn.
    """
    progress = progress or Progress(editor.init(host))
    for turn in turns:
        with _whole(turn.number):
            _take(host, editor, turn, recorder, progress)
        if after_turn is not None:
            after_turn(turn, progress)
    return progress


def _take(
    host: ModelHost, editor: Editor, turn: Turn, recorder: Recorder, progress: Progress
) -> None:
    """Apply and record one turn."""
    start = time.perf_counter()
    try:
        patch, state = editor.step(host, turn, progress.state)
        host.weights.apply(patch)
    except NumericalError as error:
        raise NumericalError(f"Turn {turn.number}: {error}") from error
    synchronize()
    seconds = time.perf_counter() - start
    progress.state = state
    progress.turns = turn.number
    progress.edits += len(turn.edits)
    progress.seconds += seconds
    record = TurnRecord(
        turn=turn.number,
        edits=len(turn.edits),
        total_edits=progress.edits,
        seconds=seconds,
        memory_bytes=peak_memory(),
        norms=norms(host),
    )
    recorder.turn(record, turn, Carried(host.weights.changes, state))


def norms(host: ModelHost) -> dict[str, float]:
    """Per module ``||dW|| / ||W0||`` as the weights stand, Frobenius."""
    return {path: host.weights.relative_change(path) for path in host.modules}


@contextmanager
def _whole(turn: int) -> Iterator[None]:
    """Hold Ctrl-C back until a turn is applied and recorded; a second one ends it at once.

    Raises:
        Stopped: After the body, if Ctrl-C was pressed in it.
        KeyboardInterrupt: Within it, if it was pressed twice.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler:  # ignored, another's, or not the main thread's
        yield
        return
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        _log.warning("Ending after turn %d. Press Ctrl-C again to end at once.", turn)

    try:
        signal.signal(signal.SIGINT, note)
    except ValueError:  # a thread that is not the main one never sees Ctrl-C
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise Stopped


def synchronize() -> None:
    """Wait for all GPUs at work, so that wall times mean what they say."""
    for device in _peaks():
        torch.cuda.synchronize(device)


def peak_memory() -> int:
    """Largest memory used so far, in bytes: of the GPUs at work together, else resident.

    Windows does not tell the latter: 0.
    """
    if peaks := _peaks():
        return sum(peaks.values())
    if resource is None:
        return 0  # type: ignore[unreachable]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peaks() -> dict[int, int]:
    """Largest memory used so far on each GPU that this process has used any of, in bytes.

    The current device is the first, whichever a model was loaded to; so all are asked.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return {}
    peaks = {n: int(torch.cuda.max_memory_allocated(n)) for n in range(torch.cuda.device_count())}
    return {number: peak for number, peak in peaks.items() if peak}


def keep_freed_memory() -> None:
    """Ask glibc to reuse large freed blocks rather than give them back to the system.

    Logits and activations are freed and taken again every batch; each time the system would
    hand out pages anew and zero them, a tenth of a turn on Gemma-3-270M (LOG.md, 2026-11-22).
    For whole programs, since it holds for the process; elsewhere than on Linux with glibc
    nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

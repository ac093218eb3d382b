"""The turn loop: trace and solve, patch, record. The weights carry over from turn to turn."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from ultraedit.errors import NumericalError
from ultraedit.host import ModelHost
from ultraedit.types import CheckpointRecord, Editor, Recorder, State, Turn, TurnRecord

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of two settings in glibc's ``malloc.h``."""


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

    def turn(self, record: TurnRecord) -> None:
        """Note a finished turn."""
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
    """
    progress = progress or Progress(editor.init(host))
    for turn in turns:
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
        recorder.turn(
            TurnRecord(
                turn=turn.number,
                edits=len(turn.edits),
                total_edits=progress.edits,
                seconds=seconds,
                memory_bytes=peak_memory(),
                norms={path: host.weights.relative_change(path) for path in host.modules},
            )
        )
        if after_turn is not None:
            after_turn(turn, progress)
    return progress


def synchronize() -> None:
    """Wait for the GPU, so that wall times mean what they say."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory() -> int:
    """Largest memory used so far, in bytes: of the GPU where it is used, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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

"""Keeps hidden states: in memory up to a budget, in memory-mapped files past it."""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import tempfile
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

_log = logging.getLogger("ultraedit")

SEGMENT_BYTES = 2**28
"""Size of one spill file. Sparse until it is written to."""

SPARE_BYTES = 2**30
"""What is left free on the disk: past that, states are computed anew instead of kept."""


class _Place(NamedTuple):
    """Where a spilled tensor lies."""

    segment: int
    offset: int
    shape: torch.Size


class StateStore:
    """Hidden states by token ids.

    A spill file has no name: it is unlinked as soon as it is open, so that the system frees it
    with the process, however that ends.
    """

    def __init__(self, budget_bytes: int, folder: str | os.PathLike[str] | None = None) -> None:
        """Begin empty.

        Args:
            budget_bytes: Most memory for states. What comes later is spilled.
            folder: Where to spill, on a disk rather than in memory. None takes the system's
                folder for temporary files (``$TMPDIR``).
        """
        self.budget_bytes = budget_bytes
        self.folder = Path(folder or tempfile.gettempdir())
        self.memory_bytes = 0
        self.spilled_bytes = 0
        self._full = False
        self._states: dict[bytes, Tensor | _Place] = {}
        self._segments: list[_Segment] = []
        self._dtype = torch.float32

    def __len__(self) -> int:
        """Number of sequences whose states are kept."""
        return len(self._states)

    def __contains__(self, ids: Sequence[int]) -> bool:
        """Whether the states of a sequence are kept."""
        return _key(ids) in self._states

    def get(self, ids: Sequence[int]) -> Tensor | None:
        """States of a sequence, on the CPU and not to be written to; None if they are not kept."""
        states = self._states.get(_key(ids))
        if isinstance(states, _Place):
            return self._segments[states.segment].read(states.offset, states.shape, self._dtype)
        return states

    def put(self, ids: Sequence[int], states: Tensor) -> None:
        """Keep the states of a sequence, unless memory and disk are full.

        Args:
            ids: The sequence.
            states: A tensor of its own on the CPU. Shape (length, hidden).
        """
        key = _key(ids)
        if key in self._states:
            return
        self._dtype = states.dtype
        size = states.numel() * states.element_size()
        if self.memory_bytes + size <= self.budget_bytes:
            self._states[key] = states
            self.memory_bytes += size
        elif not self._full:
            self._spill(key, states, size)

    def close(self) -> None:
        """Forget everything and give the memory and the disk back."""
        self._states.clear()
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        self.memory_bytes = self.spilled_bytes = 0
        self._full = False

    def _spill(self, key: bytes, states: Tensor, size: int) -> None:
        try:
            if not self._segments or self._segments[-1].free < size:
                if shutil.disk_usage(self.folder).free < SPARE_BYTES + max(size, SEGMENT_BYTES):
                    raise OSError("the disk is nearly full")
                self._segments.append(_Segment(self.folder, max(size, SEGMENT_BYTES)))
            offset = self._segments[-1].append(states)
        except OSError as error:
            _log.warning(
                "No more hidden states are kept: %s: %s. Evaluations take longer from here on.",
                self.folder,
                error.strerror or error,
            )
            self._full = True
            return
        self._states[key] = _Place(len(self._segments) - 1, offset, states.shape)
        self.spilled_bytes += size


class _Segment:
    """One nameless file that is appended to, and read through memory."""

    def __init__(self, folder: Path, size: int) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.truncate(file.fileno(), size)
            self._map = mmap.mmap(file.fileno(), size)
            self._file: int | None = os.dup(file.fileno())
        self._size = size
        self._end = 0

    @property
    def free(self) -> int:
        return self._size - self._end

    def append(self, states: Tensor) -> int:
        # Through the file and not through the map: a full disk is then an error and not a signal.
        data = memoryview(states.contiguous().view(torch.uint8).numpy().tobytes())
        assert self._file is not None
        offset = self._end
        written = 0
        while written < len(data):
            written += os.pwrite(self._file, data[written:], offset + written)
        self._end += len(data)
        return offset

    def read(self, offset: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        # A copy, so that no tensor outlives the map.
        return (
            torch.frombuffer(self._map, dtype=dtype, count=shape.numel(), offset=offset)
            .reshape(shape)
            .clone()
        )

    def close(self) -> None:
        self._map.close()
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def __del__(self) -> None:
        # A store that is dropped without being closed gives its disk back too.
        if hasattr(self, "_file"):
            self.close()


def _key(ids: Sequence[int]) -> bytes:
    return blake2b(array("q", ids).tobytes(), digest_size=16).digest()

"""Faults between any two statements of a run: an exception is raised where the n-th line begins.

`sys.settrace` counts the lines of the modules that apply, record, settle, take back and conclude,
and raises at one of them. What follows is what follows a Ctrl-C, a full disk or a lost process at
that instant: `except` and `finally` run, and the process may be told to end a second time.
"""

from __future__ import annotations

import errno
import gc
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import ultraedit
from ultraedit.core.errors import ProcessError

SOURCE = Path(ultraedit.__file__).parent

WATCHED = frozenset(
    str(path)
    for path in (
        *(SOURCE / "runs").rglob("*.py"),
        *(SOURCE / "lifelong").glob("*.py"),
        SOURCE / "core" / "files.py",
        *(SOURCE / "models" / name for name in ("saving.py", "weights.py")),
    )
)
"""The files whose lines are counted."""


class Happens(Protocol):
    """What happens at a line, by its number: a dictionary, or `Images`."""

    def get(self, count: int) -> Callable[[], None] | None:
        """What does; None if nothing."""


class Terminated(BaseException):
    """What nothing but `except BaseException` and `finally` sees."""


KINDS: tuple[Callable[[], BaseException], ...] = (
    KeyboardInterrupt,
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    Terminated,
    lambda: ProcessError("A process of this job has ended."),  # what torchrun's SIGTERM raises
    MemoryError,
)


def press_ctrl_c() -> None:
    """What the terminal does; whoever handles the signal decides what comes of it."""
    signal.raise_signal(signal.SIGINT)


def fail(kind: int) -> Callable[[], None]:
    """Something that raises one of `KINDS`, by any number."""

    def raises() -> None:
        raise KINDS[kind % len(KINDS)]()

    return raises


class Lines:
    """Counts the lines that a call passes, and lets something happen where some of them begin."""

    def __init__(self, happens: Happens, *, finest: bool = False) -> None:
        """Prepare to count.

        Args:
            happens: What happens, by the number of the line. The first is 1.
            finest: Whether to count the instructions of the interpreter instead.
        """
        self.count = 0
        self.fired: list[str] = []
        """Where something has happened."""
        self._happens: Happens = happens
        self._event = "opcode" if finest else "line"
        self._finest = finest

    @contextmanager
    def counted(self) -> Any:
        """Count within the body."""
        sys.setprofile(self._profile)
        sys.settrace(self._enter)
        try:
            yield self
        finally:
            sys.setprofile(None)  # first, since it would count on
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        frame.f_trace_opcodes = self._finest
        return self._step

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == self._event:
            self.count += 1
            what = self._happens.get(self.count)
            if what is not None:
                name = Path(frame.f_code.co_filename).name
                self.fired.append(f"{name}:{frame.f_lineno} {frame.f_code.co_name}")
                what()
        return self._step

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """Count on: the interpreter stops tracing when something was raised at a line."""
        if sys.gettrace() is None:
            sys.settrace(self._enter)
            outer: FrameType | None = frame
            while outer is not None:
                if outer.f_code.co_filename in WATCHED and outer.f_trace is None:
                    outer.f_trace_opcodes = self._finest
                    outer.f_trace = self._step
                outer = outer.f_back


def attempt(
    work: Callable[[], Any], happens: Happens, *, finest: bool = False
) -> tuple[Lines, type[BaseException] | None]:
    """Do something while faults happen.

    Returns:
        The lines that it passed, and how it ended; None if it came to its end.
    """
    lines = Lines(happens, finest=finest)
    ended = None
    try:
        with lines.counted():
            work()
    except BaseException as error:  # also those that only `BaseException` is a name for
        ended = type(error)
    if ended is not None:
        gc.collect()  # what the fault kept from being closed, as the end of a process would
    return lines, ended


def spread(total: int, wanted: int, *, first: int = 1) -> range:
    """About so many numbers from `first` to `total`, evenly."""
    return range(first, total + 1, max(1, (total - first + 1) // wanted))


class Images:
    """What a killed process would leave: copies of a folder, one for each line that changed it."""

    def __init__(self, folder: Path, copies: Path) -> None:
        """Watch a folder, and make copies in another."""
        self.copies: list[Path] = []
        self._folder, self._place = folder, copies
        self._last: Any = None

    def get(self, count: int) -> None:
        """Look at the folder, at each line that `Lines` counts."""
        now = {
            path: (status.st_size, status.st_mtime_ns)
            for path in self._folder.rglob("*")
            if path.is_file() and (status := path.stat())
        }
        if now and now != self._last:
            self.copies.append(self._place / f"image-{count}")
            shutil.copytree(self._folder, self.copies[-1])
            self._last = now

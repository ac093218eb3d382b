"""Do the pieces of a plan, each in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from ultraedit.core.errors import NumericalError, UltraEditError
from ultraedit.core.files import write_text
from ultraedit.core.types import Observer
from ultraedit.tools.reproduce.steps import Step, slug

_log = logging.getLogger("ultraedit")

FAILED = "failed"
"""Folder of the notes on runs that cannot be finished."""


@dataclass
class Outcome:
    """The outcome of the pieces of a plan, by their place."""

    made: list[str] = field(default_factory=list)
    """Those that were done now."""

    done_before: list[str] = field(default_factory=list)
    """Those that had been done."""

    failed: dict[str, str] = field(default_factory=dict)
    """Those that could not be done, and why."""


def carry_out(
    steps: Iterable[Step], out: Path, observer: Observer, *, isolated: bool = True
) -> Outcome:
    """Do what is not done yet, and go on with what was interrupted.

    What fails is noted, and the rest is done all the same. A run whose numbers ceased to be
    finite would do so again, and is not begun another time.

    Args:
        steps: The pieces, each after those that it needs.
        out: The folder of the reproduction.
        observer: Receives progress updates.
        isolated: Whether each gets a process of its own.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once the turn at work is recorded.
    """
    outcome = Outcome()
    every = list(ordered(steps))
    for number, step in enumerate(every, 1):
        if step.status(out) == "done":
            outcome.done_before.append(step.place)
            continue
        _log.info("%d of %d: %s", number, len(every), step.place)
        why = given_up(step, out) or missing(step, out)
        if why is None:
            why = _isolated(step, out, observer) if isolated else here(step, out, observer)
        if why is None:
            outcome.made.append(step.place)
        else:
            outcome.failed[step.place] = why
    return outcome


def ordered(steps: Iterable[Step]) -> Iterator[Step]:
    """Each piece once, after those that it needs."""
    seen: set[str] = set()
    for step in steps:
        for each in (*ordered(step.needs), step):
            if each.place not in seen:
                seen.add(each.place)
                yield each


def given_up(step: Step, out: Path) -> str | None:
    """Why a run was given up for good; None if it was not."""
    with suppress(FileNotFoundError):
        return str(json.loads(_note(step, out).read_text(encoding="utf-8"))["why"])
    return None


def missing(step: Step, out: Path) -> str | None:
    """Which piece that another needs is not there; None if all are."""
    for need in step.needs:
        if need.status(out) != "done":
            return f"{need.place}, which it needs, is not there"
    return None


def here(step: Step, out: Path, observer: Observer) -> str | None:
    """Do a piece. Returns why it could not be done; None if it was."""
    try:
        step.carry_out(out, observer)
    except NumericalError as error:
        note = _note(step, out)
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, json.dumps({"step": step.place, "why": str(error)}) + "\n")
        return str(error)
    except UltraEditError as error:
        return str(error)
    return None


def _note(step: Step, out: Path) -> Path:
    return out / FAILED / f"{slug(step.place)}.json"


def _isolated(step: Step, out: Path, observer: Observer) -> str | None:
    """Do a piece in another process, passing on how far it is."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(step, out, theirs))
    process.start()
    theirs.close()
    assert process.pid is not None
    pressed = False
    why: str | None = f"its process ended early; look at {out / step.place}"
    while True:
        try:
            kind, *values = ours.recv()
        except EOFError:
            break
        except KeyboardInterrupt:
            pressed = True
            os.kill(process.pid, signal.SIGINT)  # ends it after the turn at work
            continue
        if kind == "stage":
            observer.stage(*values)
        elif kind == "advance":
            observer.advance(*values)
        else:
            (why,) = values
    process.join()
    if pressed:
        raise KeyboardInterrupt
    return why


def _child(step: Step, out: Path, pipe: Connection) -> None:
    """What the other process does."""
    with suppress(OSError):
        os.setpgid(0, 0)  # Ctrl-C in the terminal goes to the parent, which passes it on
    # A broken pipe: nobody is there to be told any more. What is recorded stands.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        pipe.send(("done", here(step, out, _Relay(pipe))))
    pipe.close()


class _Relay:
    """An observer at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def stage(self, name: str, total: int | None = None) -> None:
        """Pass it on."""
        self._pipe.send(("stage", name, total))

    def advance(self, steps: int = 1) -> None:
        """Pass it on."""
        self._pipe.send(("advance", steps))

"""Do the pieces of a plan several at a time: on this machine, or as jobs of Slurm.

Submitit starts each piece as a process of its own, here or on another machine that sees the same
folder. A process that dies, for whatever reason, costs its own piece only: that is handed out
again and goes on where it was, since every run records its turns as it makes them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import write_text
from ultraedit.tools.reproduce.steps import Step, slug
from ultraedit.tools.reproduce.working import Outcome, given_up, here, missing, ordered

if TYPE_CHECKING:
    from submitit import Executor, Job

_log = logging.getLogger("ultraedit")

FOLDER = "workers"
"""Folder of what the workers leave: their logs, and how far each is."""

INSTALL = "pip install 'ultraedit[slurm]'"

ATTEMPTS = 3
"""How often a piece is handed out whose worker dies each time."""

PAUSE: Mapping[str, float] = {"local": 0.2, "slurm": 10.0}
"""Seconds between two looks at the workers."""

MINUTES, YEAR = 24 * 60, 365 * 24 * 60
"""Time limits of a job of Slurm, where SBATCH_TIMELIMIT says nothing else, and of a local one."""


@dataclass(frozen=True)
class Workers:
    """How many pieces are done at a time, and where."""

    count: int
    where: str = "local"
    """``local`` or ``slurm``."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If there is no worker, no such place, or submitit is not installed.
        """
        if self.count < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.count}.")
        if self.where not in PAUSE:
            raise ConfigError(
                f"--workers knows no place {self.where!r}. Write N for this machine, or slurm:N."
            )
        require_submitit()

    def executor(self, out: Path) -> Executor:
        """What starts them."""
        from submitit import LocalExecutor, SlurmExecutor

        folder = (out / FOLDER).absolute()
        if self.where == "local":
            local = LocalExecutor(folder)
            local.update_parameters(timeout_min=YEAR)  # submitit's own default is five minutes
            return local
        if SlurmExecutor.affinity() < 0:
            raise ConfigError(
                "--workers slurm:N needs Slurm's command srun, which is not on the PATH here. "
                "Write N alone for workers on this machine."
            )
        executor = SlurmExecutor(folder)
        executor.update_parameters(time=MINUTES, cpus_per_task=threads(1))
        return executor


def read_workers(text: str) -> Workers:
    """Read ``N`` or ``slurm:N``.

    Raises:
        ConfigError: If it is neither, or submitit is not installed.
    """
    where, colon, count = text.rpartition(":")
    try:
        number = int(count)
    except ValueError:
        raise ConfigError(
            f"--workers must be a number, or slurm: and a number such as slurm:8, got {text!r}."
        ) from None
    return Workers(number, where if colon else "local")


def require_submitit() -> None:
    """Check that submitit is installed.

    Raises:
        ConfigError: If it is not.
    """
    from importlib.util import find_spec

    if find_spec("submitit") is None:
        raise ConfigError(f"--workers needs submitit. Install it with: {INSTALL}.")


def threads(workers: int) -> int:
    """Threads of each of some workers on this machine: their share of its cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given):
        return int(given)
    return max(
        1, len(os.sched_getaffinity(0)) // workers if hasattr(os, "sched_getaffinity") else 1
    )


@dataclass
class _Busy:
    """A piece that a worker is at."""

    step: Step
    job: Job[Any]
    attempt: int
    said: str = ""
    """What was last said of it."""


def carry_out_together(steps: Iterable[Step], out: Path, workers: Workers) -> Outcome:
    """Do what is not done yet, several pieces at a time, each after those that it needs.

    Args:
        steps: The pieces.
        out: The folder of the reproduction, which all workers see.
        workers: How many, and where.

    Raises:
        ConfigError: If the workers cannot be started.
        KeyboardInterrupt: After Ctrl-C, once all workers are told to end.
    """
    outcome = Outcome()
    every = list(ordered(steps))
    waiting = [step for step in every if step.status(out) != "done"]
    outcome.done_before = [step.place for step in every if step not in waiting]
    executor, busy = workers.executor(out), list[_Busy]()
    share = threads(workers.count)
    try:
        while waiting or busy:
            for step in _ready(waiting, busy, out, outcome)[: workers.count - len(busy)]:
                waiting.remove(step)
                busy.append(_Busy(step, executor.submit(_work, step, out.absolute(), share), 1))
                _say(step, "begins")
            time.sleep(PAUSE[workers.where])
            for each in list(busy):
                _report(each, out)
                if each.job.done():
                    _collect(each, busy, executor, out, outcome, share)
    except BaseException:
        for each in busy:
            with suppress(Exception):
                each.job.cancel()
        raise
    return outcome


def _ready(waiting: list[Step], busy: list[_Busy], out: Path, outcome: Outcome) -> list[Step]:
    """Pieces that can be begun now. Those that never can are noted, and wait no more."""
    pending = {step.place for step in waiting} | {each.step.place for each in busy}
    ready = []
    for step in list(waiting):
        if any(need.place in pending for need in step.needs):
            continue
        why = given_up(step, out) or missing(step, out)
        if why is None:
            ready.append(step)
        else:
            waiting.remove(step)
            outcome.failed[step.place] = why
            _say(step, f"cannot be made: {why}")
    return ready


def _collect(
    each: _Busy,
    busy: list[_Busy],
    executor: Executor,
    out: Path,
    outcome: Outcome,
    share: int,
) -> None:
    """Note the outcome of a piece, or hand it out again if its worker died."""
    error = each.job.exception()
    step = each.step
    if error is None:
        busy.remove(each)
        why = each.job.result()
        if why is None:
            outcome.made.append(step.place)
            _say(step, "is done")
        else:
            outcome.failed[step.place] = why
            _say(step, f"cannot be made: {why}")
    elif each.attempt < ATTEMPTS:
        each.attempt += 1
        each.job = executor.submit(_work, step, out.absolute(), share)
        _say(step, f"lost its worker and goes on, attempt {each.attempt} of {ATTEMPTS}")
    else:
        busy.remove(each)
        log = each.job.paths.stderr
        outcome.failed[step.place] = f"{ATTEMPTS} workers have died at it; look at {log}"
        _say(step, outcome.failed[step.place])


def _say(step: Step, what: str) -> None:
    _log.info("%s %s", step.place, what)


def _report(each: _Busy, out: Path) -> None:
    """Say how far a piece is, if that has changed."""
    with suppress(OSError, ValueError, KeyError):
        at = json.loads(_position(each.step, out).read_text(encoding="utf-8"))
        if at["stage"] != each.said:
            each.said = at["stage"]
            of = "" if at["total"] is None else f": {at['total']:,}"
            _say(each.step, f"{at['stage']}{of}")


def _position(step: Step, out: Path) -> Path:
    """Where a worker writes how far it is."""
    return out / FOLDER / f"{slug(step.place)}.json"


def _work(step: Step, out: Path, share: int) -> str | None:
    """What a worker does. Returns why the piece could not be done; None if it was."""
    import torch

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(share)
    return here(step, out, _Written(_position(step, out)))


def _end_with(parent: int) -> None:
    """End this process once its parent is gone: the piece will be handed out again."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Written:
    """An observer that writes how far the work is to a file, for whoever hands it out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stage(self, name: str, total: int | None = None) -> None:
        """Write it down."""
        at = {"stage": name, "total": total, "process": os.getpid(), "host": socket.gethostname()}
        write_text(self._path, json.dumps(at) + "\n")

    def advance(self, steps: int = 1) -> None:
        """Write nothing: a file has no use for a thousand lines."""

"""What this process knows of the others on its job."""

from __future__ import annotations

from itertools import count
from typing import Any

from ultraedit.core.errors import ProcessError

FIRST = 0
"""Rank of the process that runs the program."""


class Here:
    """What this process knows of the others."""

    rank = FIRST
    size = 1
    group: Any = None
    broken = False
    """Whether one of the others is gone."""
    busy = False
    """Whether another process is in the middle of hearing or of saying something."""
    copies = count()


here = Here()


def rank() -> int:
    """Number of this process, from 0."""
    return here.rank


def size() -> int:
    """How many processes are on the job."""
    return here.size


def is_first() -> bool:
    """Whether this is the process that runs the program."""
    return here.rank == FIRST


def gone() -> ProcessError:
    """Note that nothing more can be said, and why this process must end."""
    here.broken = True
    return ProcessError(
        f"A process of this job has ended, so process {rank()} of {size()} ends too."
        if is_first()
        else f"Process {rank()} ends: the first process of this job is gone. `ultraedit run "
        "--resume` goes on after the last whole turn of its folder."
    )

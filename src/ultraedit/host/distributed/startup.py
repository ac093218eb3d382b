"""How the processes of a job find each other, and how they part."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from ultraedit.core.errors import ConfigError, ProcessError
from ultraedit.host.distributed.messages import send
from ultraedit.host.distributed.processes import FIRST, gone, here, is_first, size

JOINING = timedelta(minutes=5)
"""How long processes wait for each other at the beginning."""

WORKING = timedelta(days=30)
"""How long a process waits for an order, or for what it ordered. One that has died is noticed at
once, by its closed connection or by torchrun; this is for those that are slow."""


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun has started; without torchrun, be the only one.

    The first process lets the others go at the end. If it cannot, since one of them has died,
    the others notice that it is gone.
    """
    if not _started_by_torchrun():
        yield
        return
    _join()
    usual = signal.getsignal(signal.SIGTERM)
    if is_first():
        signal.signal(signal.SIGTERM, _end_with_the_others)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
        _leave()


def require_device(name: str) -> None:
    """Check that every process can have a device of its own.

    Args:
        name: The device that the settings say, such as ``cpu`` or ``cuda``.

    Raises:
        ConfigError: If all processes would share one GPU, or there are not enough.
    """
    import torch

    if size() == 1 or name == "cpu":
        return
    if name != "cuda":
        raise ConfigError(
            f"--device {name} is no choice for {size()} processes. Leave it out, so that each "
            "takes a GPU of its own, or give cpu."
        )
    started = int(os.environ.get("LOCAL_WORLD_SIZE", size()))
    if started > torch.cuda.device_count():
        raise ConfigError(
            f"{started} processes were started here and there are {torch.cuda.device_count()} GPUs."
            " Start as many with --nproc-per-node, or give --device cpu."
        )


def _started_by_torchrun() -> bool:
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys() and (
        int(os.environ["WORLD_SIZE"]) > 1
    )


def _join() -> None:
    import torch
    from torch import distributed

    gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    if gpus:
        # From here on "cuda" is this process's own card.
        local = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
        torch.cuda.set_device(local % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    distributed.init_process_group(backend, timeout=JOINING)
    here.group = distributed.new_group(timeout=WORKING)
    here.rank, here.size = distributed.get_rank(), distributed.get_world_size()


def _leave() -> None:
    from torch import distributed

    if is_first() and not here.busy:
        for number in range(1, size()):
            with suppress(ProcessError):
                send(None, number)
    if not here.broken and not here.busy:
        distributed.destroy_process_group()
    here.rank, here.size, here.group, here.broken, here.busy = FIRST, 1, None, False, False


def _end_with_the_others(*_: object) -> None:
    """What SIGTERM does: torchrun sends it to all processes as soon as one of them has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise gone()

"""Runs jobs in forked processes and kills them at a chosen moment, for `test_killed`.

Loading torch and transformers takes seconds; here it is paid once. Each line of the standard
input is a job as JSON; for each a line comes back with how its process ended.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch

import ultraedit.report
from ultraedit.runs import workflow
from ultraedit.runs.config import make_config
from ultraedit.runs.store import folder, journal, snapshots


class Moments:
    """Counts the moments at which a run touches the disk, and dies at one of them."""

    def __init__(self, fatal: int | None) -> None:
        self.count = 0
        self.fatal = fatal

    def pass_one(self) -> bool:
        """Count a moment. Returns whether it is the last."""
        self.count += 1
        return self.count == self.fatal

    def around(self, owner, name: str, *, halfway=None) -> None:
        """Make a call two moments, one before and one after it."""
        call = getattr(owner, name)

        def watched(*args, **options):
            if self.pass_one():
                if halfway is not None:
                    halfway(call, *args, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **options)
            if self.pass_one():
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, watched)


def write_half(save, tensors, path, **options) -> None:
    """Leave the first half of a snapshot."""
    save(tensors, path, **options)
    os.truncate(path, Path(path).stat().st_size // 2)


def work(job: dict) -> None:
    """Do a job in a process of its own, which may not survive it."""
    moments = Moments(job.get("fatal"))
    moments.around(os, "fsync")
    moments.around(os, "replace")
    moments.around(os, "rename")
    moments.around(snapshots, "save_file", halfway=write_half)
    moments.around(journal.Journal, "add_turn")
    moments.around(journal.Journal, "add_checkpoint")
    moments.around(journal.Journal, "end_job")
    folder.SOONEST = folder.SHARE = 0  # a snapshot every turn: more moments to die in
    if not job["plots"]:
        ultraedit.report.write = lambda _: None
    if job.get("after") is not None:
        kill = threading.Timer(job["after"], os.kill, (os.getpid(), signal.SIGKILL))
        kill.daemon = True
        kill.start()
    out = Path(job["out"])
    if (out / "journal.sqlite").exists() and not folder.is_blank(out / "journal.sqlite"):
        workflow.resume(out)
    else:
        workflow.run(make_config(job["config"]), out)
    Path(job["moments"]).write_text(str(moments.count))


def main() -> None:
    """Fork a process a job."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    for line in sys.stdin:
        job = json.loads(line)
        random.seed(0)
        child = os.fork()
        if child == 0:
            try:
                work(job)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        start = time.monotonic()
        _, status = os.waitpid(child, 0)
        ended = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - start}
        sys.stdout.write(f"{json.dumps(ended)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""One process, one model: a thread that answers and a thread that edits, behind two queues."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from ultraedit.core.errors import NumericalError, UltraEditError
from ultraedit.core.types import Edit, NullObserver
from ultraedit.evaluation.monitors import Guard
from ultraedit.lifelong.loop import keep_freed_memory
from ultraedit.runs.base_model import open_host
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.serve.generation import Generator, QueueFull, Request, Stopping
from ultraedit.serve.opening import open_run
from ultraedit.serve.questions import Tested
from ultraedit.serve.turns import LiveRun, Preview, Refused, Taught
from ultraedit.serve.versions import Version
from ultraedit.serve.watching import DEFAULT_GUARD, Seen

_log = logging.getLogger("ultraedit")

T = TypeVar("T")

IDLE_SECONDS = 1.0
"""How long nothing is to be edited before edits are asked again."""

RETESTED = 4
"""Edits that are asked again at a time."""

VERSIONS = 4
"""Earlier versions that are kept to be asked."""


class Busy(UltraEditError):
    """The engine is not ready yet, or more facts wait than it holds."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is let in."""

    queued_requests: int = 256
    """Answers that wait."""
    queued_facts: int = 2000
    """Facts that wait."""
    edits_per_turn: int = 100
    """Facts of one turn."""


@dataclass(eq=False)
class _Job(Generic[T]):
    """Something that the editing thread is to do."""

    what: str
    work: Callable[[LiveRun], T]
    facts: int = 0
    future: Future[T] = field(default_factory=Future)
    merges: tuple[Sequence[Edit], str | None] | None = None
    """Facts that may share a turn with those of the job behind, and their author."""

    def do(self, run: LiveRun) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work(run))
        except BaseException as error:
            self.future.set_exception(error)


class Engine:
    """A run that answers and is edited at the same time."""

    def __init__(
        self,
        path: Path,
        *,
        guard: Mapping[str, float] | None = None,
        text: str | None = None,
        limits: Limits | None = None,
        read_only: bool = False,
    ) -> None:
        """Prepare to serve a run; see `start`.

        Args:
            path: Its folder.
            guard: Thresholds at which a turn is taken back. None takes `DEFAULT_GUARD`.
            text: A text whose perplexity is watched; None for the package's control questions.
            limits: How much is let in.
            read_only: Whether nothing may be edited.

        Raises:
            ConfigError: If the guard has no such threshold.
        """
        self.path = path
        self.guard = Guard(dict(DEFAULT_GUARD if guard is None else guard))
        self.limits = limits or Limits()
        self.read_only = read_only
        self.started = time.time()
        self.model = ""
        """Name of the model."""
        self.run: LiveRun | None = None
        self.at_work: str | None = None
        """What the editing thread does."""
        self.not_begun: list[str] = []
        """What was asked for and not begun when the engine ended."""
        self.refusals = 0
        self._text = text
        self._version: Version | None = None
        self._earlier: dict[str, Version] = {}
        self._jobs: deque[_Job[Any]] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._ready: Future[None] = Future()
        self._loaded: Future[None] = Future()
        # Each of the two threads has its share of the cores, or one would wait for the other's.
        self._threads = max(1, (os.cpu_count() or 2) // 2)
        self.generator = Generator(self._newest, self.limits.queued_requests, self._threads)
        self._thread = threading.Thread(target=self._work, name="editing", daemon=True)

    # Beginning and end

    def start(self) -> None:
        """Load the model and begin to answer; the first edit may take longer to begin.

        Raises:
            UltraEditError: If the run cannot be opened, or its model not be loaded.
        """
        self._thread.start()
        self._loaded.result()
        self.generator.start()

    def wait(self) -> None:
        """Wait until the first turn can begin.

        Raises:
            UltraEditError: If it never can.
        """
        self._ready.result()

    @property
    def is_ready(self) -> bool:
        """Whether a turn can begin."""
        return self._ready.done() and self._ready.exception() is None

    @property
    def is_ending(self) -> bool:
        """Whether nothing new is begun."""
        return self._ending

    def stop(self) -> None:
        """Begin no more turns, and tell who waits for one. The turn at work is finished."""
        with self._changed:
            self._ending = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify()
        for job in waiting:
            self.not_begun.append(job.what)
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(
                    Stopping(f"The server is ending: this was not begun ({job.what}).")
                )

    def close(self) -> None:
        """Finish the turn at work and the answers that were begun, and leave the folder whole."""
        self.stop()
        self.generator.close()
        if self._thread.ident is not None:
            self._thread.join()

    # Asking

    @property
    def version(self) -> Version:
        """The newest version.

        Raises:
            Busy: If there is none yet.
        """
        if self._version is None:
            raise Busy("The run is being brought to its last turn. Ask again in a moment.")
        return self._version

    def _newest(self) -> Version:
        return self.version

    def submit(self, *requests: Request) -> None:
        """Have requests answered.

        Raises:
            QueueFull: If too many wait.
            Busy: If there is no version yet.
            Stopping: If the engine is ending.
        """
        _ = self.version
        self.generator.submit(*requests)

    def version_at(self, turn: int) -> Future[Version]:
        """The version of a turn that stands, to be asked."""
        with self._changed:
            kept = [each for each in self._earlier.values() if each.turn == turn]
        done: Future[Version] = Future()
        if self._version is not None and turn == self._version.turn:
            done.set_result(self._version)
            return done
        if kept:
            done.set_result(kept[-1])
            return done

        def make(run: LiveRun) -> Version:
            version = run.version_at(turn)
            with self._changed:
                self._earlier[version.name] = version
                while len(self._earlier) > VERSIONS:
                    del self._earlier[next(iter(self._earlier))]
            return version

        return self._add(_Job(f"the version of turn {turn}", make))

    # Editing

    def teach(self, edits: Sequence[Edit], author: str | None = None) -> Future[Taught]:
        """Write facts. They may share a turn with others that wait.

        Raises:
            Busy: If too many facts wait.
            Stopping: If the engine is ending.
        """
        facts = tuple(edits)

        def work(run: LiveRun) -> Taught:
            return self._teach(run, facts, author)

        many = "1 fact" if len(facts) == 1 else f"{len(facts):,} facts"
        return self._add(_Job(f"{many} to write", work, len(facts), merges=(facts, author)))

    def preview(self, edits: Sequence[Edit]) -> Future[Preview]:
        """Work out what a turn would do."""
        return self._add(_Job("a preview", lambda run: run.preview(edits), len(edits)))

    def revert(self, rows: Sequence[int], author: str | None = None) -> Future[int]:
        """Take edits out. The result is the turn that did so."""

        def work(run: LiveRun) -> int:
            turn, version = run.revert(rows, author)
            self._publish(version)
            return turn

        return self._add(_Job(f"edit {', '.join(map(str, rows))} to take out", work))

    def rollback(self, turn: int, author: str | None = None) -> Future[int]:
        """Go back to a turn. The result is that turn."""

        def work(run: LiveRun) -> int:
            self._publish(run.rollback(turn, author))
            return turn

        return self._add(_Job(f"rollback to turn {turn}", work))

    @property
    def waiting_facts(self) -> int:
        """Facts that wait for their turn."""
        with self._changed:
            return sum(job.facts for job in self._jobs)

    # Reading, from any thread

    def journal(self) -> Journal:
        """The run's journal, to be read and closed by the caller."""
        return Journal.open(self.path / JOURNAL)

    def tested(self, row: int) -> Tested | None:
        """What became of an edit when it was asked last."""
        return None if self.run is None else self.run.tests.get(row)

    def seen(self) -> dict[str, Seen]:
        """What was seen of each version since the engine was started."""
        return {} if self.run is None else dict(self.run.seen)

    # The editing thread

    def _add(self, job: _Job[T]) -> Future[T]:
        with self._changed:
            if self._ending:
                raise Stopping("The server is ending. Ask again when it is back.")
            waiting = sum(each.facts for each in self._jobs)
            if waiting + job.facts > self.limits.queued_facts:
                raise QueueFull(
                    f"{waiting} facts wait already, of at most {self.limits.queued_facts}. Send "
                    f"these {job.facts} when they are written."
                )
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        keep_freed_memory()
        try:
            run = self._open()
        except BaseException as error:
            for each in (self._loaded, self._ready):
                if not each.done():
                    each.set_exception(error)
            return
        try:
            self._serve(run)
        finally:
            run.close()

    def _open(self) -> LiveRun:
        folder = open_run(self.path)
        try:
            host, settings = open_host(folder.journal, NullObserver())
            run = LiveRun(folder, host, settings, self.guard, self._text)
        except BaseException:
            folder.close()
            raise
        self.model = host.language_model.name
        self._earlier[run.first.name] = run.first
        self.run = run
        if not folder.journal.head():
            self._version = run.first
        self._loaded.set_result(None)
        return run

    def _serve(self, run: LiveRun) -> None:
        try:
            self.at_work = "getting ready"
            self._publish(run.begin())
            self._ready.set_result(None)
        except BaseException as error:
            self._ready.set_exception(error)
            self.stop()
            raise
        finally:
            self.at_work = None
        while True:
            job = self._next(IDLE_SECONDS)
            if job is not None:
                self.at_work = job.what
                job.do(run)
                self.at_work = None
                continue
            if self._ending:
                return
            try:
                if not run.retest(RETESTED):
                    self._wait()
            except UltraEditError:
                _log.exception("Edits could not be asked again.")
                self._wait()

    def _next(self, patience: float) -> _Job[Any] | None:
        """The next job, with those behind it that can share its turn; None if there is none."""
        with self._changed:
            if not self._jobs and not self._ending:
                self._changed.wait(patience)
            if not self._jobs:
                return None
            first = self._jobs.popleft()
            batch = [first]
            while self._jobs and _merge(batch, self._jobs[0], self.limits.edits_per_turn):
                batch.append(self._jobs.popleft())
        return first if len(batch) == 1 else self._merged(batch)

    def _wait(self) -> None:
        with self._changed:
            if not self._jobs and not self._ending:
                self._changed.wait()

    def _merged(self, batch: Sequence[_Job[Taught]]) -> _Job[Any]:
        """Jobs as one turn; each by itself where that turn cannot be made."""

        def work(run: LiveRun) -> None:
            jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
            parts = [job.merges[0] for job in jobs if job.merges is not None]
            author = batch[0].merges[1] if batch[0].merges is not None else None
            try:
                taught = self._teach(run, [edit for part in parts for edit in part], author)
            except (UltraEditError, Refused):
                for job in jobs:
                    try:
                        job.future.set_result(job.work(run))
                    except BaseException as error:
                        job.future.set_exception(error)
                return
            except BaseException as error:
                for job in jobs:
                    job.future.set_exception(error)
                raise
            at = 0
            for job, part in zip(jobs, parts, strict=True):
                prompts = {edit.prompt for edit in part}
                own = tuple(each for each in taught.overruled if each.edit.prompt in prompts)
                rows = taught.rows[at : at + len(part)]
                at += len(part)
                job.future.set_result(taught._replace(rows=rows, overruled=own))

        facts = sum(job.facts for job in batch)
        return _Job(f"{facts:,} facts to write", work, facts)

    def _teach(self, run: LiveRun, edits: Sequence[Edit], author: str | None) -> Taught:
        try:
            taught, version = run.teach(edits, author)
        except (Refused, NumericalError) as error:
            self.refusals += 1
            run.note(
                "refused",
                author,
                {"reason": str(error), "facts": [[e.prompt, e.target] for e in edits][:20]},
            )
            raise
        self._publish(version)
        return taught

    def _publish(self, version: Version) -> None:
        with self._changed:
            old, self._version = self._version, version
            # After a rollback a turn's number means another turn.
            self._earlier = {
                name: each for name, each in self._earlier.items() if each.turn <= version.turn
            }
        if old is not version:
            _log.info("Answers are given at turn %d now.", version.turn)


def _merge(batch: Sequence[_Job[Any]], job: _Job[Any], most: int) -> bool:
    """Whether a job can share the turn of those in front of it."""
    first = batch[0].merges
    if first is None or job.merges is None or job.merges[1] != first[1]:
        return False
    facts = [edit for each in batch if each.merges is not None for edit in each.merges[0]]
    if len(facts) + job.facts > most:
        return False
    # Of two answers to one prompt the later one has to be written last; ids are given in order.
    prompts = {edit.prompt for edit in facts}
    return all(edit.prompt not in prompts and not edit.id for edit in job.merges[0])

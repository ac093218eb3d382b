"""The run folder: a journal, snapshots, and the results that people look at.

The journal is the truth. Whatever a killed process left that the journal does not name is swept
away when the folder is opened next.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from heapq import merge
from io import RawIOBase
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import (
    JOURNAL,
    PARTIAL,
    explained,
    sha256,
    staged,
    sweep,
    write_bytes,
    write_text,
)
from ultraedit.core.types import Answer, Carried, CheckpointRecord, Turn, TurnRecord, to_json
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.runs.store import snapshots
from ultraedit.runs.store.baseline import before_from_json, before_to_json
from ultraedit.runs.store.entries import StoredFile
from ultraedit.runs.store.journal import Change, Journal
from ultraedit.runs.store.lock import HOLDER, LOCK, FolderLock
from ultraedit.runs.store.random_state import random_state
from ultraedit.runs.store.schema import is_blank

SEAL = "journal.sha256"
"""Hash of the journal, there while nobody writes to it."""

RECORDS = "records.jsonl"

SHARE = 30
"""The latest snapshot is renewed when the turns since have taken so many times what writing it
takes: at most a thirtieth of the time goes there, and a resumed run repeats little."""

SOONEST = 5.0
"""Seconds of turns before the latest snapshot is renewed in any case."""


class RunFolder:
    """A folder that belongs to one run, held by this process, and a `Recorder` of it."""

    def __init__(self, path: Path, journal: Journal, lock: FolderLock) -> None:
        """Hold an open run folder; see `create` and `open`."""
        self.path = path
        self.journal = journal
        self.author: str | None = None
        """Who asks for the turns that follow, where somebody said so."""
        self._lock = lock
        self._made: list[Path] = []
        self._saved_at = time.monotonic()
        self._cost = 0.0

    @classmethod
    def create(
        cls, path: Path, values: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> RunFolder:
        """Claim a folder for a new run, making it if it is not there.

        Args:
            path: A folder that does not exist yet, or is empty.
            values: What the journal notes of the whole run.
            settings: Those of its first job.

        Raises:
            ConfigError: If it holds another run, or anything else.
            StorageError: If it cannot be made.
        """
        refuse_taken(path)
        made = [p for p in (path, *path.parents) if not p.exists()]
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
        lock = _claim(path, made)
        try:
            sweep(path)
            journal = Journal.create(path / JOURNAL, values, settings)
        except BaseException:
            _remove(path, made)
            lock.release()
            raise
        folder = cls(path, journal, lock)
        folder._made = made
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Take hold of a run that was begun before, and sweep up what a killed process left.

        Raises:
            ConfigError: If it holds no run, or another process is at work on it.
            StorageError: If it cannot be read or written.
        """
        Journal.open(path / JOURNAL).close()  # refuses what is no run before touching it
        lock = FolderLock(path)
        try:
            folder = cls(path, Journal.open(path / JOURNAL, write=True), lock)
            with explained(path):
                folder._sweep()
        except BaseException:
            lock.release()
            raise
        return folder

    def close(self) -> None:
        """Let go of the folder. A journal that has a last word gets its seal."""
        try:
            self.journal.close()
            journal = self.path / JOURNAL
            if journal.exists() and not journal.with_name(f"{JOURNAL}-wal").exists():
                with suppress(OSError):
                    write_bytes(self.path / SEAL, seal_of(journal))
        finally:
            self._lock.release()

    @property
    def begun(self) -> bool:
        """Whether the run has left a record, and so is worth keeping when it ends early."""
        journal = self.journal
        return bool(journal.head()) or journal.has_checkpoint(journal.job().id, 0)

    def discard(self) -> None:
        """Take the folder away again, with all folders that were made for it."""
        self.journal.close()
        _remove(self.path, self._made)

    def begin_job(self, settings: Mapping[str, Any]) -> None:
        """Note that a command begins to add turns, with its settings."""
        self.journal.begin_job(settings, changing=RECORDS)

    def give_up_job(self) -> None:
        """Let the run stand as it stood before its newest job, which has made no turn."""
        self._drop(self.journal.give_up_job())
        self.write_records()
        self.journal.add_file(self._stored(RECORDS, "result"))

    # What the run records

    def turn(self, record: TurnRecord, turn: Turn, carried: Carried) -> None:
        """Record a finished turn, and now and then all that is carried on.

        Raises:
            StorageError: If it cannot be written. The turns before it stay as they are.
        """
        job = self.journal.job()
        role = "snapshot" if turn.number % job.settings["snapshot_every"] == 0 else "latest"
        since = time.monotonic() - self._saved_at
        due = role == "snapshot" or since > max(SOONEST, SHARE * self._cost)
        file = self._write_snapshot(turn.number, carried, role) if due else None
        digest = snapshots.digest(carried)
        change = Change(record, turn.edits, random_state(), digest=digest, author=self.author)
        self._drop(self.journal.add_turn(change, file, job=job.id))
        self._append({"kind": "turn"} | to_json(record))

    def revert(self, record: TurnRecord, reverted: tuple[int, ...], carried: Carried) -> None:
        """Record a turn that took edits out. Its outcome cannot be replayed, so it is kept.

        Raises:
            StorageError: If it cannot be written. The turns before it stay as they are.
        """
        file = self._write_snapshot(record.turn, carried, "snapshot")
        digest = snapshots.digest(carried)
        change = Change(record, (), random_state(), reverted, digest, self.author)
        self._drop(self.journal.add_turn(change, file, job=None))

    def settle(self, carried: Carried) -> None:
        """Keep what the last turn carries on, so that who goes on from here replays nothing.

        What is not what that turn is on record with, such as weights that a turn was applied to
        which is not recorded, is not kept: who goes on from here computes the turns again.

        Args:
            carried: What the model and the editor hold now.

        Raises:
            StorageError: If it cannot be written. The run stays as it is and can be resumed.
        """
        turn = self.journal.head()
        if turn and snapshots.digest(carried) == self.journal.digest(turn):
            self._keep(turn, carried)

    def _keep(self, turn: int, carried: Carried) -> None:
        """Have a snapshot of a turn that stands, in the place of one that holds something else."""
        digest = snapshots.digest(carried)
        saved = self.journal.snapshot_of(turn)
        if saved is not None:
            with suppress(StorageError):
                if snapshots.digest(snapshots.read_snapshot(self.path / saved.path)) == digest:
                    return
            self._drop(self.journal.drop_file(saved.path))
        file = self._write_snapshot(turn, carried, "latest" if saved is None else saved.role)
        self._drop(self.journal.add_snapshot(file, turn, digest))

    def checkpoint(self, record: CheckpointRecord) -> None:
        """Record an evaluation, unless it is on record.

        Raises:
            StorageError: If it cannot be written. The records before it stay as they are.
        """
        if self.journal.add_checkpoint(record):
            self._append({"kind": "checkpoint"} | to_json(record))

    def keep_before(self, before: Evaluation) -> None:
        """Keep what the unedited model says, for the case that this process is killed.

        Raises:
            StorageError: If it cannot be written.
        """
        name = self._before_name()
        with explained(self.path):
            (self.path / name).parent.mkdir(exist_ok=True)
        write_text(self.path / name, before_to_json(before))
        self.journal.add_file(self._stored(name, "before"))

    def before(self) -> Evaluation | None:
        """What the unedited model said to this job's questions; None if it was not asked yet.

        Raises:
            StorageError: If the file is damaged.
        """
        name = self._before_name()
        path = self.path / name
        stored = next((file for file in self.journal.files() if file.path == name), None)
        if stored is None or not path.is_file():
            return None
        if sha256(path) != stored.sha256:
            raise StorageError(
                f"{path} is damaged: its bytes are not those that were written. Delete it; what "
                "the unedited model says is then asked again."
            )
        return before_from_json(path.read_text(encoding="utf-8"))

    def drop_before(self) -> None:
        """Take away what `keep_before` kept, now that the job is done."""
        self._drop(self.journal.drop_files("before"))

    def _before_name(self) -> str:
        return f"{snapshots.FOLDER}/before-{self.journal.job().id}.json"

    def rollback(self, turn: int, carried: Carried, halted: str | None = None) -> None:
        """Let the run stand at an earlier turn. Those after it stay on record, marked.

        Args:
            turn: The turn; 0 is the unedited model.
            carried: What that turn carried on.
            halted: Why a guard takes turns back. The job is then still to be concluded; None ends
                it, whatever it has left to do.

        Raises:
            StorageError: If it cannot be written. The run stays where it stood.
        """
        if turn:
            self._keep(turn, carried)
        self._drop(self.journal.undo_after(turn, halted))
        if halted is None:
            self.drop_before()
        self.write_records()

    def _write_snapshot(self, turn: int, carried: Carried, role: Any) -> StoredFile:
        start = time.monotonic()
        name = snapshots.snapshot_name(turn)
        snapshots.write_snapshot(self.path / name, carried)
        stored = self._stored(name, role, turn)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start
        return stored

    def _stored(self, name: str, role: Any, turn: int | None = None) -> StoredFile:
        path = self.path / name
        with explained(path):
            return StoredFile(name, role, path.stat().st_size, sha256(path), turn)

    def _drop(self, paths: list[str]) -> None:
        for path in paths:
            (self.path / path).unlink(missing_ok=True)

    # The results

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file whole: a reader sees the old one or the new one, never a part.

        Raises:
            StorageError: If it cannot be written. What was there before stays.
        """
        write_text(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def answers(self, answers: tuple[Answer, ...]) -> None:
        """Write every generated answer, before and after the edits, to ``answers.jsonl``."""
        lines = [json.dumps(answer._asdict(), ensure_ascii=False) for answer in answers]
        write_text(self.path / "answers.jsonl", "".join(f"{line}\n" for line in lines))

    def seal(self) -> None:
        """Note the hash of every result: from now on `verify` finds a change in any of them."""
        results = [
            self._stored(path.relative_to(self.path).as_posix(), "result")
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and is_result(path.relative_to(self.path))
        ]
        self.journal.set_results(results, of=self.journal.head())

    def unseal(self) -> None:
        """Expect other results from now on: until `seal`, those that change are no damage."""
        self.journal.drop_files("result")

    def drop_results(self) -> None:
        """Take away what tells of another state of the run: summary, report, answers."""
        named = ("summary.json", "report.md", "report.html", "answers.jsonl")
        for path in (*(self.path / name for name in named), *self.path.glob("*.png")):
            path.unlink(missing_ok=True)

    def write_records(self) -> None:
        """Write ``records.jsonl`` anew from the journal."""
        turns = (
            (record["turn"], 0, {"kind": "turn"} | dict(record))
            for record in self.journal.records(self.journal.head())
        )
        checkpoints = (
            (each.after_turn, 1, {"kind": "checkpoint"} | dict(each.record))
            for each in self.journal.checkpoints()
        )
        with (
            staged(self.path / RECORDS, parents=False) as stage,
            stage.open("w", encoding="utf-8") as file,
        ):
            for *_, row in merge(turns, checkpoints, key=lambda line: line[:2]):
                file.write(f"{json.dumps(row, ensure_ascii=False)}\n")

    def _sweep(self) -> None:
        (self.path / SEAL).unlink(missing_ok=True)
        sweep(self.path)
        known = {self.path / file.path for file in self.journal.files()}
        states = self.path / snapshots.FOLDER
        for path in states.iterdir() if states.is_dir() else ():
            if path not in known:
                path.unlink()
        self.write_records()

    def _append(self, row: dict[str, Any]) -> None:
        line = f"{json.dumps(row, ensure_ascii=False)}\n".encode()
        path = self.path / RECORDS
        # Unbuffered, so that nothing is written again, and fails again, when the file is closed.
        with explained(path), path.open("ab", buffering=0) as file:
            length = file.tell()
            try:
                _write_all(file, line)
            except OSError:
                file.truncate(length)  # A disk that filled up midway took a part of the line.
                raise


def seal_of(journal: Path) -> bytes:
    """What the seal of a journal holds, as ``sha256sum --check`` reads it."""
    return f"{sha256(journal)}  {JOURNAL}\n".encode()


def is_result(path: Path) -> bool:
    """Whether a file of a run folder is one of its results, by its path within the folder."""
    return (
        path.parts[0] != snapshots.FOLDER
        and not path.name.startswith((JOURNAL, "."))
        and path.name not in (SEAL, LOCK, HOLDER)
    )


def _claim(path: Path, made: list[Path]) -> FolderLock:
    """Lock a folder for a new run; take it away again if that fails and it was made for it."""
    try:
        lock = FolderLock(path)
    except StorageError:
        if path in made:
            _remove(path, made)
        raise
    try:
        refuse_taken(path)  # another process may have had it until a moment ago
    except ConfigError:
        lock.release()
        raise
    return lock


def _remove(path: Path, made: list[Path]) -> None:
    """Empty a folder, and take it away with those around it that were made for it.

    The journal goes last: a folder without one, with anything in it, could not be begun anew.
    """
    if path.exists():
        for child in sorted(path.iterdir(), key=_is_leftover):
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    with suppress(OSError):  # Another run may have put its own folder beside this one.
        for folder in made:
            folder.rmdir()


def _write_all(file: RawIOBase, content: bytes) -> None:
    """Write to an unbuffered file, which may take a part of what it is given at a time."""
    while content:
        content = content[file.write(content) :]


def refuse_taken(path: Path) -> None:
    """Check that a new run may have a folder, touching nothing.

    Raises:
        ConfigError: If it holds another run, or anything else.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file. Choose a new or empty folder for --out.")
    if (path / JOURNAL).exists() and not is_blank(path / JOURNAL):
        raise ConfigError(
            f"{path} already holds a run. Choose another --out, go on with that run by --resume "
            "or `ultraedit edit --append`, or delete the folder first."
        )
    if path.exists() and any(not _is_leftover(child) for child in path.iterdir()):
        raise ConfigError(f"{path} is not empty. Choose a new or empty folder for --out.")


def refuse_unwritable(path: Path) -> None:
    """Check that a folder can be made and written, leaving nothing behind.

    Raises:
        StorageError: If it cannot.
    """
    made = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"The folder {path} cannot be written: {reason}. Choose another one with --out."
        ) from error
    finally:
        with suppress(OSError):  # another run may have put its own folder beside this one
            for folder in made:
                folder.rmdir()


def _is_leftover(path: Path) -> bool:
    """Whether a file is what a process leaves that was killed before its run began."""
    half = path.name.startswith(f".{HOLDER}.") and path.name.endswith(PARTIAL)
    return half or path.name.startswith(JOURNAL) or path.name in (LOCK, HOLDER)

"""The journal of a run: every turn with its edits, in one SQLite file that is always whole.

A turn stands from the moment its transaction is committed. What is not in here does not count:
a file without a row is a leftover.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.types import CheckpointRecord, Edit, TurnRecord, to_json
from ultraedit.runs.store import schema
from ultraedit.runs.store.entries import Job, StoredFile, edit_to_json
from ultraedit.runs.store.journal_reader import STANDING, JournalReader


class Change(NamedTuple):
    """A turn as it goes into the journal."""

    record: TurnRecord
    edits: Sequence[Edit]
    """Those that it wrote; none for a revert."""
    random: bytes
    """Random state after it."""
    reverted: Sequence[int] = ()
    """Rows of the edits that it took out; none for a turn of edits."""
    digest: str | None = None
    """Of what it carries on, as `snapshots.digest` has it."""
    author: str | None = None
    """Who asked for it; None where nobody said."""


class Journal(JournalReader):
    """A run's history. One process writes to it at a time; others may read meanwhile."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use an open journal; see `create` and `open`."""
        super().__init__(connection, path)
        self._random: bytes | None = None

    @classmethod
    def create(cls, path: Path, values: Mapping[str, Any], settings: Mapping[str, Any]) -> Journal:
        """Make a journal with its first job, in one transaction.

        Args:
            path: Where; there is no journal yet, or one without tables.
            values: What holds for the whole run, by name.
            settings: Those of the first job, with the hash of its data as ``data_sha256`` and its
                name as ``data_named``.

        Raises:
            StorageError: If it cannot be written.
        """
        journal = cls(schema.create(path), path)
        with schema.transaction(journal._db, path):
            for statement in schema.TABLES.split(";"):
                journal._db.execute(statement)
            journal._db.execute(f"PRAGMA application_id = {schema.APPLICATION}")
            journal._db.execute(f"PRAGMA user_version = {schema.VERSION}")
            for name, value in values.items():
                journal._set(name, value)
            journal._add_job(settings)
        return journal

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> Journal:
        """Open a journal.

        Raises:
            ConfigError: If it is none, or of a newer version of this program.
            StorageError: If it is damaged.
        """
        journal = cls(schema.connect(path, write=write), path)
        if write:
            schema.add_columns(journal._db, path)
        return journal

    # What holds for the whole run

    def set_value(self, name: str, value: Any) -> None:
        """Note a value of the run, in the place of an older one."""
        with schema.transaction(self._db, self.path):
            self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (name, _dump(value)))

    # Jobs

    def begin_job(self, settings: Mapping[str, Any], *, changing: str) -> Job:
        """Note that a command begins to add turns.

        Args:
            settings: Those of the job.
            changing: Path of a result that grows with the turns. It is not checked until it is
                noted again.
        """
        with schema.transaction(self._db, self.path):
            self._add_job(settings)
            self._drop_files("path = ?", changing)
        return self.job()

    def _add_job(self, settings: Mapping[str, Any]) -> None:
        apart = ("data_sha256", "data_named")
        kept = {key: value for key, value in settings.items() if key not in apart}
        self._db.execute(
            "INSERT INTO jobs (settings, data_sha256, data, first_turn, begun) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                _dump(kept),
                settings["data_sha256"],
                settings.get("data_named"),
                self.head() + 1,
                _now(),
            ),
        )

    def end_job(self) -> None:
        """Note that everything of the newest job is on the disk, or that it is given up."""
        with schema.transaction(self._db, self.path):
            self._end_job()

    def give_up_job(self) -> list[str]:
        """Note that the newest job has made no turn and will make none: what it asked is forgotten.

        Returns:
            Paths of files that are needless from now on.
        """
        newest = self.job().id
        with schema.transaction(self._db, self.path):
            self._db.execute("DELETE FROM checkpoints WHERE job = ?", (newest,))
            self._end_job()
            return self._drop_files("role = 'before'")

    def _end_job(self) -> None:
        newest = "(SELECT max(id) FROM jobs)"
        self._db.execute(
            f"UPDATE jobs SET ended = ? WHERE id = {newest} AND ended IS NULL", (_now(),)
        )

    # Turns

    def add_turn(
        self, change: Change, snapshot: StoredFile | None = None, *, job: int | None
    ) -> list[str]:
        """Note a finished turn, with its snapshot if it has one: all of it, or nothing.

        Args:
            change: The turn.
            snapshot: The file that holds what is carried on, written and synced.
            job: The job it belongs to; None for a revert.

        Returns:
            Paths of snapshots that this one has made needless.
        """
        record = change.record
        with schema.transaction(self._db, self.path):
            turn = self._db.execute(
                "INSERT INTO turns (job, number, kind, record, random, finished, digest, author) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job,
                    record.turn,
                    "revert" if change.reverted else "edit",
                    _dump(to_json(record)),
                    None if change.random == self._last_random() else change.random,
                    _now(),
                    change.digest,
                    change.author,
                ),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO edits (turn, name, prompt, target, value) VALUES (?, ?, ?, ?, ?)",
                ((turn, e.id, e.prompt, e.target, edit_to_json(e)) for e in change.edits),
            )
            self._db.executemany(
                "INSERT INTO reverts (turn, edit) VALUES (?, ?)",
                ((turn, edit) for edit in change.reverted),
            )
            if change.reverted:
                self._drop_files("role = 'result'")  # they tell of the turn before
            needless = [] if snapshot is None else self._add_snapshot(snapshot, record.turn)
        self._random = change.random
        return needless

    def add_snapshot(self, snapshot: StoredFile, turn: int, digest: str) -> list[str]:
        """Note a snapshot of a turn that stands, as it carries on from now on.

        Args:
            snapshot: The file, written and synced.
            turn: The turn.
            digest: Of what the file holds. Where the turn was computed again on another machine, it
                differs in the last digits from what the turn had.

        Returns:
            Paths of snapshots that this one has made needless.
        """
        with schema.transaction(self._db, self.path):
            self._db.execute(
                "UPDATE turns SET digest = ? WHERE number = ? AND undone IS NULL", (digest, turn)
            )
            return self._add_snapshot(snapshot, turn)

    def _add_snapshot(self, file: StoredFile, turn: int) -> list[str]:
        needless = self._drop_files("role = 'latest' AND path != ?", file.path)
        self._db.execute(
            "INSERT OR REPLACE INTO files (path, role, turn, bytes, sha256) VALUES (?, ?, "
            f"({STANDING}), ?, ?)",
            (file.path, file.role, turn, file.bytes, file.sha256),
        )
        return needless

    def _last_random(self) -> bytes | None:
        if self._random is None:
            self._random = self.random_state(self.head())
        return self._random

    def undo_after(self, turn: int, halted: str | None = None) -> list[str]:
        """Roll back to a turn: those after it stay on record, but no longer stand.

        The results that there are tell of another state from now on, and are no longer checked.

        Args:
            turn: The turn; 0 is the unedited model.
            halted: Why the newest job makes no more turns, where it is not ended by this: its
                results are still to be written. None ends it.

        Returns:
            Paths of snapshots that are needless from now on.
        """
        with schema.transaction(self._db, self.path):
            now = _now()
            self._db.execute(
                "UPDATE turns SET undone = ? WHERE number > ? AND undone IS NULL", (now, turn)
            )
            gone = "turn IN (SELECT id FROM turns WHERE undone IS NOT NULL)"
            needless = self._drop_files(gone)
            self._drop_files("role = 'result'")
            if halted is None:
                self._end_job()
            else:
                newest = "(SELECT max(id) FROM jobs)"
                self._db.execute(f"UPDATE jobs SET halted = ? WHERE id = {newest}", (halted,))
        self._random = None
        return needless

    def prune(self) -> int:
        """Forget the turns that were rolled back. Returns how many there were."""
        with schema.transaction(self._db, self.path):
            count = self._db.execute("DELETE FROM turns WHERE undone IS NOT NULL").rowcount
        with schema.explained(self.path):
            self._db.execute("VACUUM")
        return count

    # Checkpoints

    def add_checkpoint(self, record: CheckpointRecord) -> bool:
        """Note an evaluation. Returns False if it is on record: a resumed job repeats its last."""
        job, head = self.job().id, self.head()
        if self.has_checkpoint(job, record.turn):
            return False
        with schema.transaction(self._db, self.path):
            self._db.execute(
                "INSERT INTO checkpoints (job, after_turn, turn, record) "
                f"VALUES (?, ?, ({STANDING}), ?)",
                (job, head, record.turn, _dump(to_json(record))),
            )
        return True

    # Files

    def add_file(self, file: StoredFile) -> None:
        """Note a file that is no snapshot."""
        with schema.transaction(self._db, self.path):
            self._add_file(file)

    def _add_file(self, file: StoredFile) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO files (path, role, bytes, sha256) VALUES (?, ?, ?, ?)",
            (file.path, file.role, file.bytes, file.sha256),
        )

    def drop_files(self, role: str) -> list[str]:
        """Forget the files of a role. Returns their paths."""
        with schema.transaction(self._db, self.path):
            return self._drop_files("role = ?", role)

    def drop_file(self, path: str) -> list[str]:
        """Forget a file. Returns its path."""
        with schema.transaction(self._db, self.path):
            return self._drop_files("path = ?", path)

    def _drop_files(self, where: str, *values: Any) -> list[str]:
        paths = [row["path"] for row in self._all(f"SELECT path FROM files WHERE {where}", *values)]
        self._db.execute(f"DELETE FROM files WHERE {where}", values)
        return paths

    def set_results(self, files: Iterable[StoredFile], of: int | None = None) -> None:
        """Note the files of the results, in the place of all that were noted before.

        Args:
            files: The files.
            of: The turn that they tell of; None leaves what is noted.
        """
        with schema.transaction(self._db, self.path):
            if of is not None:
                self._set("results_of", of)
            self._drop_files("role = 'result'")
            for file in files:
                self._add_file(file)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")

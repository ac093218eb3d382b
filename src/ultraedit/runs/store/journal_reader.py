"""Reading a journal: the turns of a run, its edits, its evaluations and its files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Turn
from ultraedit.runs.store import schema
from ultraedit.runs.store.entries import (
    Checkpoint,
    Entry,
    Job,
    StoredEdit,
    StoredFile,
    edit_from_json,
)

STANDING = "SELECT id FROM turns WHERE number = ? AND undone IS NULL"
"""The row of a turn that stands, by its number."""

_REVERTED = (
    "(SELECT min(rt.number) FROM reverts r JOIN turns rt ON rt.id = r.turn "
    "WHERE r.edit = e.id AND rt.undone IS NULL)"
)
"""The turn that took an edit ``e`` out."""

_HOLDS = "t.undone IS NULL AND reverted_by IS NULL"


class JournalReader:
    """A run's history, to be read. Others may add to it meanwhile."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use an open journal; see `Journal.open`."""
        self._db = connection
        self.path = path

    def close(self) -> None:
        """Close it. What was committed is in the file proper from then on."""
        with suppress(sqlite3.Error):
            self._db.close()

    def value(self, name: str) -> Any:
        """A value of the run; None if there is none."""
        row = self._one("SELECT value FROM run WHERE name = ?", name)
        return None if row is None else json.loads(row["value"])

    def jobs(self) -> list[Job]:
        """The jobs, oldest first. There is at least one: it is made with the tables."""
        return [_job(row) for row in self._all("SELECT * FROM jobs ORDER BY id")]

    def job(self) -> Job:
        """The newest job."""
        return _job(self._all("SELECT * FROM jobs ORDER BY id DESC LIMIT 1")[0])

    # Turns

    def head(self) -> int:
        """Number of the last turn that stands; 0 if none does."""
        row = self._one("SELECT max(number) AS head FROM turns WHERE undone IS NULL")
        return 0 if row is None or row["head"] is None else int(row["head"])

    def random_state(self, turn: int) -> bytes | None:
        """Random state after a turn that stands; None if it was never noted."""
        row = self._one(
            "SELECT random FROM turns WHERE random IS NOT NULL AND number <= ? AND undone IS NULL "
            "ORDER BY number DESC LIMIT 1",
            turn,
        )
        return None if row is None else row["random"]

    def digest(self, turn: int) -> str | None:
        """Digest of what a turn that stands carries on; None if it was never noted."""
        with schema.explained(self.path):
            known = schema.has_column(self._db, "turns", "digest")
        row = (
            self._one(f"SELECT digest FROM turns WHERE id = ({STANDING})", turn) if known else None
        )
        return None if row is None else row["digest"]

    def turns(self, *, undone: bool = False, last: int | None = None) -> list[Entry]:
        """The turns in their order.

        Args:
            undone: Whether to list those too that were rolled back, each where it once stood.
            last: List so many of them, from the end; None for all.
        """
        which = "" if undone else "WHERE undone IS NULL"
        rows = self._all(
            f"SELECT * FROM turns {which} ORDER BY number DESC, id DESC LIMIT ?",
            -1 if last is None else last,
        )
        return [_entry(row) for row in reversed(rows)]

    def turn(self, number: int) -> Entry:
        """A turn that stands.

        Raises:
            ConfigError: If there is none of that number.
        """
        row = self._one("SELECT * FROM turns WHERE number = ? AND undone IS NULL", number)
        if row is None:
            raise ConfigError(
                f"There is no turn {number} in {self.path.parent}: its turns are "
                f"1 to {self.head()}. `ultraedit history {self.path.parent}` lists them."
            )
        return _entry(row)

    def edits_of_job(self) -> int:
        """How many edits of the newest job are made, in turns that stand."""
        row = self._one(
            "SELECT count(*) AS made FROM turns t JOIN edits e ON e.turn = t.id "
            "WHERE t.job = ? AND t.undone IS NULL",
            self.job().id,
        )
        return 0 if row is None else int(row["made"])

    def records(self, to: int) -> Iterator[Mapping[str, Any]]:
        """What the turns up to one did, read as they are needed."""
        for row in self._rows(
            "SELECT record FROM turns WHERE undone IS NULL AND number <= ? ORDER BY number", to
        ):
            yield json.loads(row["record"])

    # Edits

    def turn_edits(self, number: int) -> list[StoredEdit]:
        """The edits of a turn that stands, in their order."""
        return list(self._edits("t.number = ? AND t.undone IS NULL", number))

    def turns_between(self, after: int, to: int) -> Iterator[Turn]:
        """The turns after one and up to another, as they were applied, read as they are needed."""
        for number in range(after + 1, to + 1):
            yield Turn(number, tuple(each.edit for each in self.turn_edits(number)))

    def taken_out(self, number: int) -> list[StoredEdit]:
        """The edits that a turn took out; none unless it is a revert."""
        rows = (
            "SELECT r.edit FROM reverts r JOIN turns rt ON rt.id = r.turn "
            "WHERE rt.number = ? AND rt.undone IS NULL"
        )
        return list(self._edits(f"t.undone IS NULL AND e.id IN ({rows})", number))

    def standing(self) -> Iterator[StoredEdit]:
        """The active edits, in the order in which they were made."""
        return self._edits(_HOLDS, order="e.id")  # which is that of the turns, and needs no sorting

    def edits_named(self, name: str) -> list[StoredEdit]:
        """Edits of an id, in turns that stand."""
        return list(self._edits("e.name = ? AND t.undone IS NULL", name))

    def names(self, before: int) -> Iterator[str]:
        """The ids of the edits of all turns before one that stand."""
        query = (
            "SELECT e.name FROM edits e JOIN turns t ON t.id = e.turn "
            "WHERE t.undone IS NULL AND t.number < ?"
        )
        for row in self._rows(query, before):
            yield row["name"]

    def last_of_prompt(self, prompt: str) -> StoredEdit | None:
        """The last edit of a prompt that holds; None if none does."""
        where = f"e.prompt = ? AND {_HOLDS}"
        return next(self._edits(where, prompt, order="e.id DESC LIMIT 1"), None)

    def newest(self, prompts: Collection[str]) -> dict[str, Edit]:
        """The last active edit of each of some prompts; prompts without one are left out."""
        last_edits = ((prompt, self.last_of_prompt(prompt)) for prompt in prompts)
        return {prompt: last.edit for prompt, last in last_edits if last is not None}

    def holding(self) -> int:
        """How many edits hold."""
        row = self._one(
            f"SELECT count(*) AS many FROM (SELECT {_REVERTED} AS reverted_by FROM edits e "
            f"JOIN turns t ON t.id = e.turn WHERE {_HOLDS})"
        )
        return 0 if row is None else int(row["many"])

    def facts(self) -> Iterator[tuple[str, str]]:
        """Prompts and targets of the active edits, in no order."""
        query = (
            f"SELECT e.prompt, e.target, {_REVERTED} AS reverted_by FROM edits e "
            f"JOIN turns t ON t.id = e.turn WHERE {_HOLDS}"
        )
        for row in self._rows(query):
            yield row["prompt"], row["target"]

    def find(self, text: str) -> Iterator[StoredEdit]:
        """Edits whose prompt, target or id has a text in it, whatever its case, rolled back or not.

        They come in the order in which they were made, as they are needed.
        """
        folded = text.casefold()
        return self._edits(
            "instr(folded(e.prompt), ?) OR instr(folded(e.target), ?) OR folded(e.name) = ?",
            *(folded, folded, folded),
        )

    def _edits(
        self, where: str, *values: Any, order: str = "t.number, e.id"
    ) -> Iterator[StoredEdit]:
        query = (
            f"SELECT e.id, e.value, t.number, t.undone, {_REVERTED} AS reverted_by "
            f"FROM edits e JOIN turns t ON t.id = e.turn WHERE {where} ORDER BY {order}"
        )
        for row in self._rows(query, *values):
            yield StoredEdit(
                row["id"],
                row["number"],
                edit_from_json(row["value"]),
                row["reverted_by"],
                row["undone"],
            )

    # Evaluations and files

    def has_checkpoint(self, job: int, turn: int) -> bool:
        """Whether an evaluation that a job made after a turn that stands is on record."""
        where = "turn IS NULL" if turn == 0 else f"turn = ({STANDING})"
        values = (job,) if turn == 0 else (job, turn)
        return (
            self._one(f"SELECT 1 FROM checkpoints WHERE job = ? AND {where}", *values) is not None
        )

    def checkpoints(self) -> list[Checkpoint]:
        """The evaluations of turns that stand, in their order."""
        rows = self._all(
            "SELECT c.* FROM checkpoints c LEFT JOIN turns t ON t.id = c.turn "
            "WHERE t.undone IS NULL AND c.after_turn <= ? ORDER BY c.after_turn, c.id",
            self.head(),
        )
        return [
            Checkpoint(row["job"], row["after_turn"], json.loads(row["record"])) for row in rows
        ]

    def files(self) -> list[StoredFile]:
        """Every file that belongs to the run but the journal itself."""
        rows = self._all(
            "SELECT f.*, t.number FROM files f LEFT JOIN turns t ON t.id = f.turn ORDER BY f.path"
        )
        return [
            StoredFile(row["path"], row["role"], row["bytes"], row["sha256"], row["number"])
            for row in rows
        ]

    def snapshots_before(self, turn: int) -> list[StoredFile]:
        """The snapshots of standing turns that are not after the given one, newest first."""
        saved = [f for f in self.files() if f.turn is not None and f.turn <= turn]
        return sorted(saved, key=lambda file: file.turn or 0, reverse=True)

    def snapshot_of(self, turn: int) -> StoredFile | None:
        """The snapshot of a turn that stands; None if it has none."""
        return next((file for file in self.files() if file.turn == turn), None)

    def damage(self) -> str | None:
        """What SQLite finds wrong with the file; None if nothing."""
        try:
            verdict = self._db.execute("PRAGMA integrity_check").fetchone()[0]
            broken = self._db.execute("PRAGMA foreign_key_check").fetchall()
        except sqlite3.DatabaseError as error:
            return str(error)
        if verdict != "ok":
            return str(verdict)
        return f"{len(broken)} rows refer to rows that are not there" if broken else None

    def _one(self, query: str, *values: Any) -> sqlite3.Row | None:
        with schema.explained(self.path):
            row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
        return row

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with schema.explained(self.path):
            return self._db.execute(query, values).fetchall()

    def _rows(self, query: str, *values: Any) -> Iterator[sqlite3.Row]:
        with schema.explained(self.path):
            # `yield from` would close the cursor of a reader that ends early, or after the journal.
            for row in self._db.execute(query, values):  # noqa: UP028
                yield row


def _job(row: sqlite3.Row) -> Job:
    return Job(
        row["id"],
        json.loads(row["settings"]),
        row["data_sha256"],
        row["first_turn"],
        row["begun"],
        row["ended"],
        *(row[name] if name in row.keys() else None for name in ("halted", "data")),  # noqa: SIM118
    )


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        row["id"],
        row["number"],
        row["kind"],
        json.loads(row["record"]),
        row["finished"],
        row["undone"],
        row["job"],
        row["author"] if "author" in row.keys() else None,  # noqa: SIM118
    )

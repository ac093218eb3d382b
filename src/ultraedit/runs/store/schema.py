"""The tables of a journal, and opening the file that holds them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ultraedit.core.errors import ConfigError, StorageError

APPLICATION = 0x55454454
"""What tells a journal from other SQLite files: "UEDT"."""

VERSION = 1
"""Version of the tables below. A newer program reads an older journal, not the other way round.

A column that may be NULL is no new version: programs that do not know it leave it alone, and an
older journal gets it when it is opened for writing (`ADDED`)."""

ADDED = (
    ("jobs", "halted", "TEXT"),
    ("jobs", "data", "TEXT"),
    ("turns", "digest", "TEXT"),
    ("turns", "author", "TEXT"),
)
"""Columns that the first journals of this version did not have."""

TABLES = """
CREATE TABLE run (            -- what holds for the whole run
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL       -- JSON
);
CREATE TABLE jobs (           -- one per command that added turns
    id INTEGER PRIMARY KEY,
    settings TEXT NOT NULL,   -- JSON
    data_sha256 TEXT NOT NULL,
    first_turn INTEGER NOT NULL,
    begun TEXT NOT NULL,
    ended TEXT,               -- NULL until everything of it is on the disk
    halted TEXT,              -- why a guard made no more of its turns, once it took one back
    data TEXT                 -- its facts as the user named them, where settings have a whole path
);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY,
    job INTEGER REFERENCES jobs (id),
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('edit', 'revert')),
    record TEXT NOT NULL,     -- JSON
    random BLOB,              -- state after the turn, NULL if that of the turn before
    finished TEXT NOT NULL,
    undone TEXT,              -- when it was rolled back
    digest TEXT,              -- of what it carries on, as snapshots.digest has it
    author TEXT               -- who asked for it, where a server was told
);
CREATE UNIQUE INDEX standing_turns ON turns (number) WHERE undone IS NULL;
CREATE TABLE edits (
    id INTEGER PRIMARY KEY,
    turn INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    name TEXT NOT NULL,       -- the id in its file
    prompt TEXT NOT NULL,
    target TEXT NOT NULL,
    value TEXT NOT NULL       -- the whole edit as JSON
);
CREATE INDEX edits_by_turn ON edits (turn);
CREATE INDEX edits_by_name ON edits (name);
CREATE INDEX edits_by_prompt ON edits (prompt);
CREATE TABLE reverts (        -- which edits a turn took out again
    turn INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    edit INTEGER NOT NULL REFERENCES edits (id) ON DELETE CASCADE
);
CREATE INDEX reverts_by_edit ON reverts (edit);
CREATE INDEX reverts_by_turn ON reverts (turn);
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY,
    job INTEGER REFERENCES jobs (id),
    after_turn INTEGER NOT NULL,
    turn INTEGER REFERENCES turns (id) ON DELETE CASCADE,  -- NULL for the unedited model
    record TEXT NOT NULL,     -- JSON
    UNIQUE (job, turn)
);
CREATE TABLE files (
    path TEXT PRIMARY KEY,    -- within the run folder
    role TEXT NOT NULL,       -- as in entries.StoredFile
    turn INTEGER REFERENCES turns (id) ON DELETE CASCADE,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE INDEX files_by_turn ON files (turn);
"""


def create(path: Path) -> sqlite3.Connection:
    """Make a file without tables yet, in WAL mode, or take one that a killed process left so.

    Raises:
        StorageError: If it cannot be written.
    """
    with explained(path):
        connection = sqlite3.connect(path, isolation_level=None)
        _configure(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    return connection


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a journal.

    Args:
        path: The file.
        write: Whether turns will be added. If not, a folder that is read-only will do.

    Raises:
        ConfigError: If it is none, or of a newer version of this program.
        StorageError: If it is damaged or cannot be opened.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path.parent} is not a run folder: it has no {path.name}. Give the --out folder of "
            "`ultraedit run` or `ultraedit edit`."
        )
    with explained(path):
        connection = _open(path, write)
        _configure(connection)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        connection.close()
        raise ConfigError(
            f"{path} is a database of another program. Give the --out folder of a run."
            if not is_blank(path)
            else f"No run was begun in {path.parent}. Begin one with `ultraedit run --out "
            f"{path.parent}`."
        )
    if version > VERSION:
        connection.close()
        raise ConfigError(
            f"{path} has version {version} of the journal's tables; this program knows versions "
            f"up to {VERSION}. Install a newer ultraedit to open it."
        )
    return connection


def has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether a table of a journal has a column, which an older one may lack."""
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return any(row["name"] == column for row in columns)


def add_columns(connection: sqlite3.Connection, path: Path) -> None:
    """Give a journal of an earlier program the columns that came later, all of them or none.

    Raises:
        StorageError: If it cannot be written.
    """
    with explained(path):
        missing = [each for each in ADDED if not has_column(connection, *each[:2])]
    if missing:
        with transaction(connection, path):
            for table, column, kind in missing:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def is_blank(path: Path) -> bool:
    """Whether a database has no table yet, as one whose maker was killed.

    Raises:
        StorageError: If it is no database.
    """
    with explained(path):
        connection = _open(path, write=False)
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        connection.close()
    return not tables


def _open(path: Path, write: bool) -> sqlite3.Connection:
    if write:
        how = "mode=rw"
    elif path.with_name(f"{path.name}-wal").exists():
        how = "mode=ro"  # someone writes to it, or was killed
    else:
        how = "immutable=1"  # leaves nothing beside it, and does in a read-only folder too
    address = f"{path.resolve().as_uri()}?{how}"
    return sqlite3.connect(address, uri=True, isolation_level=None)


def _configure(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.create_function("folded", 1, _folded, deterministic=True)


def _folded(text: str | None) -> str | None:
    """Text without upper and lower case, for searches in any script."""
    return None if text is None else text.casefold()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one sentence that names the file.

    Raises:
        StorageError: If the body raises an error of SQLite.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"Cannot use the journal {path}: {error}. What was recorded before is whole; "
            f"`ultraedit verify {path.parent}` says what is there."
        ) from error


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All of the body's changes, or none, on the disk at its end.

    Raises:
        StorageError: If they cannot be written.
    """
    with explained(path):
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except BaseException:
            # Whatever the instant: an open transaction would show its rows to this process alone.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise

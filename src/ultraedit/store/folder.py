"""The run folder. Each file in it is whole at any moment.

Files are written aside, synced, then renamed; ``records.jsonl`` grows by whole lines.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from io import RawIOBase
from pathlib import Path
from typing import Any

from ultraedit.errors import ConfigError
from ultraedit.files import explained, write_text
from ultraedit.types import Answer, CheckpointRecord, TurnRecord


class RunFolder:
    """A folder that belongs to one run, and a `Recorder` of it."""

    def __init__(self, path: Path) -> None:
        """Claim a folder, making it if it is not there.

        Args:
            path: A folder that does not exist yet, or is empty.

        Raises:
            ConfigError: If it holds another run, or anything else.
            StorageError: If it cannot be made.
        """
        refuse_taken(path)
        self.path = path
        self._made = [p for p in (path, *path.parents) if not p.exists()]
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def begun(self) -> bool:
        """Whether the run has left a record, and so is worth keeping when it ends early."""
        records = self.path / "records.jsonl"
        return records.exists() and records.stat().st_size > 0

    def discard(self) -> None:
        """Take the folder away again, with all folders that were made for it."""
        if self.path.exists():
            for child in self.path.iterdir():
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        with suppress(OSError):  # Another run may have put its own folder beside this one.
            for folder in self._made:
                folder.rmdir()

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file whole: a reader sees the old one or the new one, never a part.

        Raises:
            StorageError: If it cannot be written. What was there before stays.
        """
        write_text(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def turn(self, record: TurnRecord) -> None:
        """Append a finished turn to ``records.jsonl``.

        Raises:
            StorageError: If it cannot be written. The records before it stay as they are.
        """
        self._append("records.jsonl", {"kind": "turn"} | asdict(record))

    def checkpoint(self, record: CheckpointRecord) -> None:
        """Append an evaluation to ``records.jsonl``.

        Raises:
            StorageError: If it cannot be written. The records before it stay as they are.
        """
        self._append("records.jsonl", {"kind": "checkpoint"} | asdict(record))

    def answers(self, answers: tuple[Answer, ...]) -> None:
        """Write every free answer, before and after the edits, to ``answers.jsonl``."""
        lines = [json.dumps(answer._asdict(), ensure_ascii=False) for answer in answers]
        write_text(self.path / "answers.jsonl", "".join(f"{line}\n" for line in lines))

    def _append(self, name: str, row: dict[str, Any]) -> None:
        line = f"{json.dumps(row, ensure_ascii=False)}\n".encode()
        path = self.path / name
        # Unbuffered, so that nothing is written again, and fails again, when the file is closed.
        with explained(path), path.open("ab", buffering=0) as file:
            length = file.tell()
            try:
                _write_all(file, line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(length)  # A disk that filled up midway took a part of the line.
                raise


def _write_all(file: RawIOBase, content: bytes) -> None:
    """Write to an unbuffered file, which may take a part of what it is given at a time."""
    while content:
        content = content[file.write(content) :]


def refuse_taken(path: Path) -> None:
    """Check that a new run may have a folder, touching nothing.

    Raises:
        ConfigError: If it holds another run, or anything else.
    """
    if (path / "config.json").exists():
        raise ConfigError(
            f"{path} already holds a run. Choose another --out, or delete that folder first."
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        what = "is not empty" if path.is_dir() else "is a file"
        raise ConfigError(f"{path} {what}. Choose a new or empty folder for --out.")

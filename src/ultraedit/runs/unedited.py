"""What the unedited model says, kept in a file for other runs that ask it the same."""

from __future__ import annotations

import json
from pathlib import Path

from ultraedit.core.files import write_text
from ultraedit.core.types import CheckpointRecord
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.runs.store import RunFolder
from ultraedit.runs.store.baseline import before_from_json, before_to_json
from ultraedit.runs.store.folder import RECORDS


def take(path: Path, folder: RunFolder) -> None:
    """Let a run that has not begun have what an earlier one was told, if there is anything.

    Args:
        path: The file. Whoever names it answers for the same model, questions and settings.
        folder: The run's folder.
    """
    if not path.is_file() or folder.before() is not None:
        return
    kept = json.loads(path.read_text(encoding="utf-8"))
    folder.keep_before(before_from_json(kept["before"]))
    folder.checkpoint(CheckpointRecord(**kept["record"]))


def keep(path: Path, folder: RunFolder, before: Evaluation) -> None:
    """Keep what a run was told, with its record, for those that come after it."""
    lines = (folder.path / RECORDS).read_text(encoding="utf-8").splitlines()
    record = json.loads(lines[0])
    assert record.pop("kind") == "checkpoint" and record["turn"] == 0
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"before": before_to_json(before), "record": record}
    write_text(path, json.dumps(kept, ensure_ascii=False))

"""Read a finished run folder. Its long files are read line by line and only numbers are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import Answer
from ultraedit.evaluation.metrics import Scored

_NEEDED = {
    "summary.json": (
        *("model", "data", "editor", "edits", "turns", "overruled", "edit_seconds"),
        *("edits_per_second", "peak_memory_bytes", "before", "after", "resolved"),
    ),
    "config.json": ("settings", "versions", "machine", "started"),
}
"""What the objects must hold."""


class CheckpointPoint(NamedTuple):
    """One checkpoint after a turn."""

    edits: int
    """Edits of the run that were made by then."""

    made: int
    """Edits of the job that were made by then."""

    scored: int
    """How many of these were scored."""

    scores: dict[str, Any]

    newest_edits: int
    newest: dict[str, Any] | None
    """Scores of the edits made last; None where they were not asked for."""

    controls: dict[str, Any] | None = None
    """What became of the control questions; None where they were not asked."""


class MonitorValues(NamedTuple):
    """What the monitors saw at one checkpoint."""

    turn: int
    """0 is the unedited model."""
    values: dict[str, Any]


@dataclass
class History:
    """What the turns of a run did, each list with one number a turn."""

    turns: list[int] = field(default_factory=list)
    edits: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    norms: dict[str, list[float]] = field(default_factory=dict)
    """Per module ``||dW|| / ||W0||`` after each turn."""

    efficacy: list[Scored] = field(default_factory=list)
    """Evaluations, that of the unedited model among them: efficacy by the turn of the edits."""

    points: list[CheckpointPoint] = field(default_factory=list)
    """The checkpoints after a turn of edits, in their order."""

    total_edits: int = 0
    """Active edits after the last turn."""

    seen: list[MonitorValues] = field(default_factory=list)
    """What the monitors saw, at every checkpoint where there were any."""

    evaluation_seconds: float = 0.0
    """Wall time of all evaluations together."""

    @property
    def edits_per_second(self) -> list[float]:
        """Speed of each turn; not a number where the clock saw no time pass."""
        pairs = zip(self.edits, self.seconds, strict=True)
        return [edits / seconds if seconds > 0 else float("nan") for edits, seconds in pairs]


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run folder says, but for the answers, which `read_answers` streams."""

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    history: History


def read_run(folder: Path) -> FinishedRun:
    """Read ``summary.json``, ``config.json`` and ``records.jsonl``.

    Raises:
        ConfigError: If the folder holds no finished run, or one of the files is damaged.
    """
    summary, config = _read_object(folder, "summary.json"), _read_object(folder, "config.json")
    return FinishedRun(folder, summary, config, _read_history(folder))


def read_answers(folder: Path) -> Iterator[Answer]:
    """Read ``answers.jsonl`` as it is needed.

    Raises:
        ConfigError: If the folder holds no finished run, or the file is damaged.
    """
    for number, row in _read_lines(folder, "answers.jsonl"):
        try:
            yield Answer(**row)
        except TypeError as error:
            raise _damaged(folder / "answers.jsonl", number) from error


def _read_history(folder: Path) -> History:
    history = History()
    for number, row in _read_lines(folder, "records.jsonl"):
        try:
            _note(row, history)
        except (KeyError, TypeError) as error:
            raise _damaged(folder / "records.jsonl", number) from error
    return history


def _note(row: dict[str, Any], history: History) -> None:
    if row["kind"] == "checkpoint":
        history.evaluation_seconds += row["seconds"]
        if row.get("monitors"):
            history.seen.append(MonitorValues(row["turn"], row["monitors"]))
        made = row.get("made")
        if row["turn"] and made is not None:
            newest = row["newest"]
            history.points.append(
                CheckpointPoint(
                    history.total_edits,
                    made,
                    row["edits"],
                    row["scores"],
                    newest["edits"] if newest else 0,
                    newest["scores"] if newest else None,
                    row.get("controls"),
                )
            )
        scores = row.get("by_turn", {}).get("efficacy")
        if scores:
            history.efficacy.append(Scored(row["turn"], row["first_turn"], scores))
        return
    history.turns.append(row["turn"])
    history.edits.append(row["edits"])
    history.total_edits = row["total_edits"]
    history.seconds.append(row["seconds"])
    history.memory_bytes.append(row["memory_bytes"])
    for path, norm in row["norms"].items():
        history.norms.setdefault(path, []).append(norm)


def _read_object(folder: Path, name: str) -> dict[str, Any]:
    path = _existing(folder, name)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{path} is not well-formed JSON: {error}. Repeat the run in a new folder."
        ) from None
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path} holds a {type(value).__name__}, not an object. Repeat the run in a new folder."
        )
    missing = [key for key in _NEEDED[name] if key not in value]
    if missing:
        raise ConfigError(
            f"{path} has no {missing[0]!r}, which every run of this version writes. "
            "Repeat the run in a new folder."
        )
    return value


def _read_lines(folder: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    path = _existing(folder, name)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                except ValueError:
                    raise _damaged(path, number) from None
                if not isinstance(row, dict):
                    raise _damaged(path, number)
                yield number, row
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}. Repeat the run.") from None
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise ConfigError(
            f"{folder} is not a finished run: it has no {name}. "
            "Give the --out folder of a run that has ended."
        )
    return path


def _damaged(path: Path, number: int) -> ConfigError:
    return ConfigError(
        f"{path}, line {number}, is not a record of a run. Repeat the run in a new folder."
    )

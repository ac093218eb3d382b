"""The end of a job: its summary, its report and its model, and whether it has come to that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultraedit import report
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Observer, to_json
from ultraedit.lifelong.session import EditResult
from ultraedit.runs.resolution import ResolvedSettings, describe
from ultraedit.runs.store import RunFolder


def refuse_interrupted(folder: RunFolder) -> None:
    """Check that a run is finished.

    Raises:
        ConfigError: If it is not.
    """
    if folder.journal.job().ended is None:
        path, head = folder.path, folder.journal.head()
        raise ConfigError(
            f"{path} was interrupted after turn {head}. Finish it with `ultraedit run --resume "
            f"{path}`, or end it there with `ultraedit rollback {path} --to-turn {head}`."
        )


def conclude(
    folder: RunFolder,
    summary: dict[str, Any],
    result: EditResult,
    observer: Observer,
    *,
    save_model: bool,
) -> None:
    """Write the summary and the report, then the model, which may fill the disk.

    Whoever is interrupted here does it all again; the job is ended once everything is there.
    """
    folder.unseal()
    folder.write_json("summary.json", summary)
    folder.answers(result.after.answers)
    observer.stage("Writing the report")
    report.write(folder.path)
    if save_model:
        observer.stage("Saving the edited model")
        result.save(folder.path / "model")
    folder.drop_before()
    folder.seal()
    folder.journal.end_job()


def summarize(
    settings: ResolvedSettings,
    result: EditResult,
    folder: RunFolder,
    remarks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The run in one object: ``summary.json``.

    Args:
        settings: The settings of its newest job.
        result: Its result.
        folder: Its folder.
        remarks: What has to be said of the scores beside what the result says.
    """
    progress = result.progress
    last = folder.journal.turn(folder.journal.head()).record
    return {
        # As the user named them, whoever has come to the end: settings on record have whole paths.
        "model": folder.journal.value("settings")["model"],
        "data": folder.journal.job().data or settings.config.data,
        "editor": settings.config.editor,
        "edits": progress.edits,
        "scored": result.scored,
        "turns": progress.turns,
        "overruled": result.after.overruled,
        "edit_seconds": progress.seconds,
        "edits_per_second": progress.edits / progress.seconds,
        "peak_memory_bytes": last["memory_bytes"],
        **result.outcome,
        "newest": None if result.newest is None else to_json(result.newest),
        "resolved": describe(settings)["resolved"],
        "remarks": result.remarks | dict(remarks or {}),
        "verdict": result.verdict.to_json(),
    }

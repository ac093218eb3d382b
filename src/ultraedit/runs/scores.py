"""Score a run where it stands, on its active edits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import NullObserver, Observer
from ultraedit.data.streams import EditPanel, draw, whole
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.lifelong.checkpoints import Evaluator
from ultraedit.runs.base_model import open_host
from ultraedit.runs.config import RunConfig
from ultraedit.runs.fact_summary import remarks, with_rephrases
from ultraedit.runs.replay import restore
from ultraedit.runs.store import JOURNAL, Journal


class RunScores(NamedTuple):
    """How a run does where it stands."""

    turn: int
    edits: int
    """How many were scored."""
    evaluation: Evaluation
    remarks: dict[str, str]
    """By name of a probe or a score what has to be said of it."""


def score(
    path: Path,
    free_answers: int | None = None,
    observer: Observer | None = None,
    probes: Sequence[str] | None = None,
) -> RunScores:
    """Score a run where it stands, on its active edits, against its unedited model.

    A run that was scored on a sample is scored on a sample of that size, of the active edits.

    Args:
        path: The run folder.
        free_answers: How many edits are also asked in free generation; None for all, 0 for none.
        observer: Receives progress updates.
        probes: Probes that are asked; None for those of the run.

    Returns:
        Where it stands and how it does. Where the turn has a checkpoint on
        record of the same edits, the teacher-forced scores are the same to the last digit.

    Raises:
        ConfigError: If the folder holds no run, or no edit of it holds.
        StorageError: If one of its files is damaged.
    """
    observer = observer or NullObserver()
    journal = Journal.open(path / JOURNAL)
    try:
        panel = standing(journal)
        if not panel.edits:
            raise ConfigError(f"No edit of {path} holds: there is nothing to score.")
        host, settings = open_host(journal, observer)
        changes: dict[str, Any] = {"free_answers": free_answers}
        if probes is not None:
            changes["probe"] = tuple(probes)
        evaluator = Evaluator(host, panel, settings.config.model_copy(update=changes), observer)
        base = evaluator.evaluate()
        progress = restore(host, settings.editor, journal, observer=observer)
        with host.viewed(settings.editor, progress.state):
            evaluation = evaluator.evaluate(base.reference)
        said = remarks((each.edit for each in journal.standing()), panel)
        return RunScores(
            progress.turns, len(panel.edits), evaluation, {**evaluator.remarks, **said}
        )
    finally:
        journal.close()


def standing(journal: Journal, without: Collection[int] = ()) -> EditPanel:
    """The edits of a run that hold, or a sample of them where the run is scored on one.

    Args:
        journal: The run.
        without: Rows of edits that are left out.
    """
    config = RunConfig.of_job(journal.job())
    edits = (each.edit for each in journal.standing() if each.row not in without)
    if config.score_sample is None:
        return with_rephrases(whole(tuple(edits)))
    return with_rephrases(draw(edits, config.score_sample, config.seed)[1])

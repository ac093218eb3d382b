"""Score a run where it stands, on the edits that hold."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ultraedit.config import make_config
from ultraedit.errors import ConfigError
from ultraedit.evaluate import Evaluation, Reference, evaluate
from ultraedit.opening import open_host
from ultraedit.perplexity import read_text
from ultraedit.replay import restore
from ultraedit.store import JOURNAL, Journal
from ultraedit.stream import Panel, draw, whole
from ultraedit.types import Nobody, Observer


def score(
    path: Path, free_answers: int | None = None, observer: Observer | None = None
) -> tuple[int, int, Evaluation]:
    """Score a run where it stands, on its edits that hold, against its unedited model.

    A run that was scored on a sample is scored on a sample of that size, of the edits that hold.

    Args:
        path: The run folder.
        free_answers: How many edits are also asked freely; None for all, 0 for none.
        observer: Told how far it is.

    Returns:
        The turn, the number of edits, and the evaluation. Where the turn has a checkpoint on
        record of the same edits, the teacher-forced scores are the same to the last digit.

    Raises:
        ConfigError: If the folder holds no run, or no edit of it holds.
        StorageError: If one of its files is damaged.
    """
    observer = observer or Nobody()
    journal = Journal.open(path / JOURNAL)
    try:
        panel = standing(journal)
        if not panel.edits:
            raise ConfigError(f"No edit of {path} holds: there is nothing to score.")
        host, settings = open_host(journal, observer)

        text = read_text(host, make_config(dict(journal.job().settings)).perplexity)

        def ask(reference: Reference | None) -> Evaluation:
            return evaluate(
                host,
                panel.edits,
                reference=reference,
                newest=panel.newest,
                free_answers=free_answers,
                text=text,
                observer=observer,
            )

        base = ask(None)
        progress = restore(host, settings.editor, journal, observer=observer)
        with host.viewed(settings.editor, progress.state):
            found = ask(base.reference)
        return progress.turns, len(panel.edits), found
    finally:
        journal.close()


def standing(journal: Journal, without: Collection[int] = ()) -> Panel:
    """The edits of a run that hold, or a sample of them where the run is scored on one.

    Args:
        journal: The run.
        without: Rows of edits that are left out.
    """
    config = make_config(dict(journal.job().settings))
    edits = (each.edit for each in journal.standing() if each.row not in without)
    if config.score_sample is None:
        return whole(tuple(edits))
    return draw(edits, config.score_sample, config.seed)[1]

"""The run folder of a server: one that is there, or a new one without facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.editors import DEFAULT_EDITOR, find_editor
from ultraedit.editors.families.trained import TrainableEditor
from ultraedit.runs.conclusion import refuse_interrupted
from ultraedit.runs.config import RunConfig, make_config
from ultraedit.runs.resolution import describe, resolve
from ultraedit.runs.store import RunFolder
from ultraedit.runs.store.folder import RECORDS
from ultraedit.runs.store.random_state import random_state
from ultraedit.runs.workflow import CONFIG, check_settings

SERVED = "served"
"""What the journal has in the place of a file of facts: they came by the network."""


def make_run(model: str, out: Path, changes: dict[str, Any]) -> None:
    """Make a run folder without a turn, to be served.

    Args:
        model: Name of the model.
        out: The folder, new or empty.
        changes: Settings of the run, such as ``dtype``, ``modules`` or ``guard``.

    Raises:
        UltraEditError: If a setting cannot be used, or the folder cannot be made.
    """
    values = {
        "model": model,
        "data": f"jsonl:{SERVED}",
        "editor": DEFAULT_EDITOR,
        "chat_answers": True,
        "save_model": False,
    }
    config = make_config(values | {key: value for key, value in changes.items() if value})
    check_settings(config, out)
    settings = resolve(config, models.load_config(model))
    _refuse(config, settings.editor)
    resolved = describe(settings)
    values = resolved | {"random": random_state().hex()}
    folder = RunFolder.create(out, values, job_settings(config))
    try:
        folder.write_json(CONFIG, resolved)
        folder.journal.end_job()
        folder.seal()
    finally:
        folder.close()


def job_settings(config: RunConfig) -> dict[str, Any]:
    """Settings of the job that the turns of a server belong to.

    It is ended as soon as it is begun: whatever ends the server, each turn is whole, and there is
    nothing left to do for whoever opens the folder next.
    """
    model = Path(config.model).expanduser()
    located = {
        "data": f"jsonl:{SERVED}",
        "model": str(model.resolve()) if model.exists() else config.model,
    }
    named = {"data_sha256": "", "data_named": SERVED}
    return config.model_dump(mode="json") | located | named


def open_run(path: Path) -> RunFolder:
    """Take hold of a run to be served, with a job of its own for the turns to come.

    Raises:
        ConfigError: If it holds no run, one that was interrupted, or one whose editor cannot be
            served; or if another process is at work on it.
        StorageError: If it cannot be read or written.
    """
    folder = RunFolder.open(path)
    try:
        refuse_interrupted(folder)
        config = make_config(dict(folder.journal.jobs()[0].settings))
        if find_editor(config.editor).beside:
            raise ConfigError(
                f"The editor {config.editor} keeps its edits beside the weights, and a server "
                "publishes weights. Serve a run of another editor, such as anchored."
            )
        if folder.journal.job().data != SERVED:
            folder.journal.begin_job(job_settings(config), changing=RECORDS)
            folder.journal.end_job()
    except BaseException:
        folder.close()
        raise
    return folder


def _refuse(config: RunConfig, editor: object) -> None:
    """Refuse editors that need more than the facts as they come.

    Raises:
        ConfigError: If this is one.
    """
    row = find_editor(config.editor)
    if row.beside or isinstance(getattr(editor, "inner", editor), TrainableEditor):
        raise ConfigError(
            f"{config.editor} cannot begin a run without facts. Begin it with `ultraedit run` and "
            "serve its folder, or take the editor anchored."
        )
    if row.needs_statistics and config.corpus is None:
        raise ConfigError(
            f"{config.editor} needs second moments of a text before the first fact. Begin the run "
            "with `ultraedit run --corpus FILE` and serve its folder, or take the editor anchored."
        )

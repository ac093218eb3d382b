"""A run from its settings to its folder: begin one, go on after a crash, add more facts."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ultraedit import data, models, report, stream
from ultraedit.checkpoints import Schedule
from ultraedit.config import RunConfig, make_config
from ultraedit.editors import find_editor, make_editor
from ultraedit.editors._trained import Trained
from ultraedit.errors import ConfigError, DataError
from ultraedit.files import sha256
from ultraedit.lifelong import Progress, keep_freed_memory
from ultraedit.monitors import Guard, make_watch
from ultraedit.perplexity import read_text
from ultraedit.runs.opening import open_host
from ultraedit.runs.replay import restore
from ultraedit.second_moments import PROMPTS, check_corpus
from ultraedit.session import EditResult, asked_controls, carry_out
from ultraedit.settings import Settings, describe, resolve, resolved_again
from ultraedit.store import JOURNAL, Job, RunFolder
from ultraedit.store.randomness import random_state
from ultraedit.stream import FromFile, InMemory, Source
from ultraedit.types import Carried, Nobody, Observer


@dataclass(frozen=True)
class RunResult:
    """A finished run: what was edited, how it did, and where it lies."""

    config: RunConfig
    result: EditResult
    summary: dict[str, Any]
    folder: Path


def run(config: RunConfig, out: Path, observer: Observer | None = None) -> RunResult:
    """Do a run and leave its folder.

    What can be checked without the model is checked first. The folder and the settings exist
    before the model is loaded; if the run cannot begin, the folder is taken away again.

    Args:
        config: The settings.
        out: The run folder, new or empty.
        observer: Told how far the run is.

    Raises:
        UltraEditError: If a setting, the data or the model cannot be used, or the folder cannot
            be written.
    """
    observer = observer or Nobody()
    make_editor(config.editor, config.options)
    Guard(config.guard, config.guard_action)
    check_corpus(config.corpus)
    check_corpus(config.perplexity)
    source = read_edits(config)
    observer.stage("Loading the model")
    settings = resolve(config, models.load_config(config.model), edits=source.total)
    stream.check(settings.editor, source)
    _seed(config.seed)
    described = describe(config, settings)
    values = described | {"random": random_state().hex()}
    if find_editor(config.editor).needs_statistics and config.corpus is None:
        values["prompts"] = [edit.prompt for edit in islice(source.after(), PROMPTS)]
    folder = RunFolder.create(out, values, _job_settings(config))
    try:
        folder.write_json("config.json", described)
        return _work(folder, config, settings, source, observer)
    except BaseException:
        if not folder.begun:
            folder.discard()
        raise
    finally:
        folder.close()


def resume(path: Path, observer: Observer | None = None) -> RunResult | None:
    """Go on with a run that was interrupted, after its last whole turn.

    Args:
        path: Its folder.
        observer: Told how far the run is.

    Returns:
        The finished run; None if it was finished before.

    Raises:
        UltraEditError: If the folder holds no run or is in use, or the facts or the model are
            no longer what they were.
    """
    observer = observer or Nobody()
    folder = RunFolder.open(path)
    try:
        job = folder.journal.job()
        if job.ended is not None:
            return None
        config = make_config(dict(job.settings))
        source = _same_edits(config, job, folder)
        return _work(folder, config, resolved_again(folder.journal), source, observer)
    finally:
        folder.close()


def append(path: Path, changes: dict[str, Any], observer: Observer | None = None) -> RunResult:
    """Add facts to a run: further turns with its editor, its statistics and its model.

    Args:
        path: The run's folder.
        changes: Settings of these turns where they differ from the run's: the data, its limits,
            edits_per_turn and what is evaluated.
        observer: Told how far the job is.

    Raises:
        UltraEditError: If the folder holds no run, one that was interrupted, or one that is in
            use, or the facts cannot be used.
    """
    observer = observer or Nobody()
    folder = RunFolder.open(path)
    try:
        refuse_interrupted(folder)
        first = folder.journal.jobs()[0].settings
        config = make_config(dict(first) | {"limit": None, "turns": None} | changes)
        source = read_edits(config)
        settings = resolved_again(folder.journal)
        stream.check(settings.editor, source)
        before = folder.journal.head()
        folder.journal.begin_job(_job_settings(config))
        try:
            return _work(folder, config, settings, source, observer)
        except BaseException:
            if folder.journal.head() == before:
                folder.journal.end_job()  # nothing was added: the run stands as it stood
            raise
    finally:
        folder.close()


def read_edits(config: RunConfig) -> Source:
    """Read the facts of a run, all of them checked before anything else happens.

    Where a sample is scored, no others than these are held.

    Raises:
        DataError: If the file, or any row of it within the limits, cannot be used.
    """
    limit, seed, sample = config.edit_limit, config.seed, config.score_sample
    if sample is None:
        return InMemory(data.read(config.data, limit=limit, seed=seed))
    return FromFile.survey(config.data, limit=limit, seed=seed, sample=sample)


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


def _work(
    folder: RunFolder,
    config: RunConfig,
    settings: Settings,
    source: Source,
    observer: Observer,
) -> RunResult:
    """Do what is left of the newest job, and leave its results."""
    keep_freed_memory()
    journal = folder.journal
    host, _ = open_host(journal, observer, (config, settings))
    editor = getattr(settings.editor, "inner", settings.editor)
    if isinstance(editor, Trained):
        editor.require_fit(host)  # before the unedited model is asked, which takes a while
    if find_editor(config.editor).needs_statistics:
        host.second_moment(next(iter(host.modules)))  # Now: it would break the bar of the edits.
    if config.trunk and host.trunk is None:
        host.use_trunk(for_edits=False)  # a turn that is computed again has no trunk
    before = folder.before()

    def take_back() -> Progress:
        """Bring the model and the folder to the turn before the last."""
        progress = restore(host, settings.editor, journal, journal.head() - 1, observer)
        folder.rollback(progress.turns, Carried(host.weights.changes, progress.state))
        return progress

    try:
        watch = make_watch(host, config, source, observer, resumed=before is not None)
        result = carry_out(
            host,
            settings.editor,
            source,
            Schedule(
                edits_per_turn=config.edits_per_turn,
                evaluate_every=config.evaluate_every,
                evaluate_at=config.evaluate_at,
                score_newest=config.score_newest,
                free_answers=config.free_answers,
                text=read_text(host, config.perplexity),
                probes=config.probe,
                chat_answers=config.chat_answers,
                controls=asked_controls(config.control_questions),
                seed=config.seed,
            ),
            done=journal.edits_of_job(),
            first_turn=journal.job().first_turn,
            before=before,
            asked=folder.keep_before,
            start=lambda: restore(host, settings.editor, journal, observer=observer),
            newest=journal.newest,
            watch=watch,
            take_back=take_back if config.guard_action == "back" else None,
            recorder=folder,
            observer=observer,
        )
    finally:
        host.drop_trunk()
        folder.settle()
    summary = summarize(config, settings, result, folder)
    conclude(folder, summary, result, observer, save_model=config.save_model)
    return RunResult(config, result, summary, folder.path)


def conclude(
    folder: RunFolder,
    summary: dict[str, Any],
    result: EditResult,
    observer: Observer,
    *,
    save_model: bool,
) -> None:
    """Write the summary and the report, then the model, which may fill the disk."""
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


def write_report(path: Path) -> None:
    """Write the report of a finished run again, from its records.

    Raises:
        ConfigError: If the folder holds no finished run, or one of its files is damaged.
        StorageError: If the report cannot be written.
    """
    if not (path / JOURNAL).exists():
        report.write(path)  # which says what is missing
        return
    folder = RunFolder.open(path)
    try:
        report.write(path)
        folder.seal()
    finally:
        folder.close()


def summarize(
    config: RunConfig, settings: Settings, result: EditResult, folder: RunFolder
) -> dict[str, Any]:
    """The run in one object: ``summary.json``."""
    progress = result.progress
    last = folder.journal.turn(folder.journal.head()).record
    return {
        "model": config.model,
        "data": config.data,
        "editor": config.editor,
        "edits": progress.edits,
        "scored": result.scored,
        "turns": progress.turns,
        "overruled": result.after.overruled,
        "edit_seconds": progress.seconds,
        "edits_per_second": progress.edits / progress.seconds,
        "peak_memory_bytes": last["memory_bytes"],
        **result.outcome,
        "newest": None if result.newest is None else asdict(result.newest),
        "resolved": describe(config, settings)["resolved"],
        "remarks": result.remarks,
        "verdict": result.verdict.to_json(),
    }


def _job_settings(config: RunConfig) -> dict[str, Any]:
    """Settings as a later process finds them, wherever it is started, and the facts' hash."""
    spec = data.parse_spec(config.data)
    spec = spec._replace(path=spec.path.resolve())
    model = Path(config.model).expanduser()
    located = {"data": str(spec), "model": str(model.resolve()) if model.exists() else config.model}
    for name in ("corpus", "perplexity", "ability_data"):
        value = getattr(config, name)
        if value is not None and (path := Path(value).expanduser()).exists():
            located[name] = str(path.resolve())
    return config.model_dump(mode="json") | located | {"data_sha256": sha256(spec.path)}


def _same_edits(config: RunConfig, job: Job, folder: RunFolder) -> Source:
    """Read the facts of an interrupted job again.

    Raises:
        DataError: If they are no longer those that it was begun with.
    """
    path = data.parse_spec(config.data).path
    head = folder.journal.head()
    end = (
        f"To end the run where it stands, type `ultraedit rollback {folder.path} --to-turn {head}`."
    )
    if not path.is_file():
        raise DataError(f"The facts of this run are gone: there is no {path}. {end}")
    if sha256(path) != job.data_sha256:
        raise DataError(f"{path} has changed since this run was begun. Put it back. {end}")
    return read_edits(config)


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed % 2**64)  # torch refuses numbers that do not fit its 64 bits

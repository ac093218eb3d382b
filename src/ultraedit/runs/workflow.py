"""A run from its settings to its folder: begin one, go on after a crash, add more facts."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ultraedit import data, models, report
from ultraedit.core.errors import DataError
from ultraedit.core.files import write_text
from ultraedit.core.types import (
    Carried,
    CheckpointRecord,
    Editor,
    NullObserver,
    Observer,
    write_rephrases,
)
from ultraedit.data import streams as stream
from ultraedit.data.streams import EditSource, FromFile, InMemory
from ultraedit.editors import find_editor, make_editor
from ultraedit.editors.families.trained import TrainableEditor
from ultraedit.evaluation.monitors import Guard
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import PROMPTS, check_corpus
from ultraedit.lifelong.loop import Progress, Stopped, keep_freed_memory
from ultraedit.lifelong.session import EditResult, LifelongJob, StartingPoint
from ultraedit.runs import fact_summary as made
from ultraedit.runs.base_model import open_host
from ultraedit.runs.conclusion import conclude, refuse_interrupted, summarize
from ultraedit.runs.config import RunConfig
from ultraedit.runs.question_lengths import check_lengths
from ultraedit.runs.replay import restore
from ultraedit.runs.resolution import ResolvedSettings, describe, resolve, resolved_again
from ultraedit.runs.revert import finish_revert, is_unfinished
from ultraedit.runs.store import JOURNAL, Job, Journal, RunFolder, refuse_taken, refuse_unwritable
from ultraedit.runs.store.baseline import before_from_json, before_to_json
from ultraedit.runs.store.folder import RECORDS
from ultraedit.runs.store.random_state import random_state
from ultraedit.runs.watch import make_watch

CONFIG = "config.json"
DESCRIBED = ("settings", "resolved", "versions", "machine", "started")
"""What it holds, as `resolution.describe` gives it; the journal has the same."""

_log = logging.getLogger("ultraedit")


@dataclass(frozen=True)
class RunResult:
    """A finished run: what was edited, how it did, and where it lies."""

    config: RunConfig
    result: EditResult
    summary: dict[str, Any]
    folder: Path


def run(
    config: RunConfig,
    out: Path,
    observer: Observer | None = None,
    *,
    told: Path | None = None,
) -> RunResult:
    """Do a run and leave its folder.

    What can be checked without the model is checked first. The folder and the settings exist
    before the model is loaded; if the run cannot begin, the folder is taken away again.

    Args:
        config: The settings.
        out: The run folder, new or empty.
        observer: Receives progress updates.
        told: File of what the unedited model says to these questions, so that several runs ask it
            once: read where it is there, written where it is not. None asks it.

    Raises:
        UltraEditError: If a setting, the data or the model cannot be used, or the folder cannot
            be written.
    """
    observer = observer or NullObserver()
    check_settings(config, out)
    source = _named_once(read_edits(config), config)
    observer.stage("Loading the model")
    described = models.load_config(config.model)
    settings = resolve(config, described, edits=source.total)
    stream.check(settings.editor, source)
    check_lengths(config.model, described, source)
    _seed(config.seed)
    resolved = describe(settings)
    values = resolved | {"random": random_state().hex()}
    if find_editor(config.editor).needs_statistics and config.corpus is None:
        values["prompts"] = [edit.prompt for edit in islice(source.after(), PROMPTS)]
    folder = RunFolder.create(out, values, _job_settings(config))
    try:
        folder.write_json(CONFIG, resolved)
        return _work(folder, settings, source, observer, told)
    except BaseException:
        if not folder.begun:
            folder.discard()
        raise
    finally:
        folder.close()


def check_settings(config: RunConfig, out: Path) -> None:
    """Refuse what can be refused without the facts and the model.

    Args:
        config: The settings.
        out: The run folder.

    Raises:
        UltraEditError: If a setting cannot be used, or the folder is taken or cannot be written.
    """
    make_editor(config.editor, config.options)
    Guard(config.guard, config.guard_action)
    check_corpus(config.corpus)
    check_corpus(config.perplexity)
    refuse_taken(out)
    refuse_unwritable(out)


def resume(path: Path, observer: Observer | None = None) -> RunResult | None:
    """Go on with a run that was interrupted, after its last whole turn.

    A revert that was interrupted once its turn was recorded is scored and concluded.

    Args:
        path: Its folder.
        observer: Receives progress updates.

    Returns:
        The finished run; None if it was finished before.

    Raises:
        UltraEditError: If the folder holds no run or is in use, or the facts or the model are
            no longer what they were.
    """
    observer = observer or NullObserver()
    folder = RunFolder.open(path)
    try:
        job = folder.journal.job()
        config = RunConfig.of_job(job)
        if is_unfinished(folder.journal):
            reverted = finish_revert(folder, observer)
            return None if reverted is None else RunResult(config, *reverted, folder.path)
        if job.ended is not None:
            return None
        if not (path / CONFIG).exists():  # its process was killed before it came to that
            values = {name: folder.journal.value(name) for name in DESCRIBED}
            folder.write_json(CONFIG, values)
        source = _same_edits(config, job, folder)
        return _work(folder, resolved_again(folder.journal), source, observer)
    finally:
        folder.close()


def append(path: Path, changes: dict[str, Any], observer: Observer | None = None) -> RunResult:
    """Add facts to a run: further turns with its editor, its statistics and its model.

    Args:
        path: The run's folder.
        changes: Settings of these turns where they differ from the run's: the data, its limits,
            edits_per_turn and what is evaluated.
        observer: Receives progress updates.

    Raises:
        UltraEditError: If the folder holds no run, one that was interrupted, or one that is in
            use, or the facts cannot be used.
    """
    observer = observer or NullObserver()
    folder = RunFolder.open(path)
    try:
        refuse_interrupted(folder)
        journal = folder.journal
        config = RunConfig.of_added(journal.jobs()[0], changes)
        source = _named_once(read_edits(config), config, journal, journal.head() + 1)
        settings = resolved_again(journal, config)
        stream.check(settings.editor, source)
        check_lengths(config.model, models.load_config(config.model), source)
        before = folder.journal.head()
        folder.begin_job(_job_settings(config))
        try:
            return _work(folder, settings, source, observer)
        except BaseException:
            if folder.journal.head() == before and folder.journal.job().halted is None:
                folder.give_up_job()  # nothing was added: the run stands as it stood
            raise
    finally:
        folder.close()


def read_edits(config: RunConfig) -> EditSource:
    """Read the facts of a run, all of them checked before anything else happens.

    Where a sample is scored, no others than these are held.

    Raises:
        DataError: If the file, or any row of it within the limits, cannot be used.
    """
    limit, seed, sample = config.edit_limit, config.seed, config.score_sample
    if sample is None:
        edits = data.read(config.data, limit=limit, seed=seed)
        return InMemory([write_rephrases(edit, config.use_rephrases) for edit in edits])
    return FromFile.survey(
        config.data,
        limit=limit,
        seed=seed,
        sample=sample,
        use_rephrases=config.use_rephrases,
    )


class _InFolder(StartingPoint):
    """A job that begins where the folder of its run stands."""

    def __init__(
        self,
        folder: RunFolder,
        settings: ResolvedSettings,
        host: ModelHost,
        observer: Observer,
        told: Path | None,
    ) -> None:
        journal = folder.journal
        self.edits, self.first_turn = journal.edits_of_job(), journal.job().first_turn
        self.before, self.halted = folder.before(), journal.job().halted
        self.newest = journal.newest
        self.take_back = self._take_back if settings.config.guard_action == "back" else None
        self._folder, self._host, self._observer = folder, host, observer
        self._editor, self._told = settings.editor, told
        self._stands: Progress | None = None
        """Where the model and the folder stand; None while that is not known."""

    def keep_before(self, before: Evaluation) -> None:
        """Keep what the unedited model says."""
        self._folder.keep_before(before)
        if self._told is not None:
            _keep_told(self._told, self._folder, before)

    def start(self, host: ModelHost, editor: Editor) -> Progress:
        """Bring the model to where the folder stands; later turns are added to what this gives."""
        self._stands = restore(host, editor, self._folder.journal, observer=self._observer)
        return self._stands

    def _take_back(self, why: str) -> Progress:
        """Bring the model and the folder to the turn before the last."""
        self._stands = None
        journal = self._folder.journal
        progress = restore(self._host, self._editor, journal, journal.head() - 1, self._observer)
        carried = Carried(self._host.weights.changes, progress.state)
        self._folder.rollback(progress.turns, carried, why)
        self._stands = progress
        return progress

    def settle(self) -> None:
        """Keep the state in which the run stands."""
        if self._stands is not None:
            self._folder.settle(Carried(self._host.weights.changes, self._stands.state))


def _work(
    folder: RunFolder,
    settings: ResolvedSettings,
    source: EditSource,
    observer: Observer,
    told: Path | None = None,
) -> RunResult:
    """Do what is left of the newest job, and leave its results."""
    keep_freed_memory()
    config = settings.config
    scored = made.WithRephrases(source)
    said = made.remarks(source.panel.edits, scored.panel)
    source = scored
    host, _ = open_host(folder.journal, observer, settings)
    editor = getattr(settings.editor, "inner", settings.editor)
    if isinstance(editor, TrainableEditor):
        # Before the unedited model is asked, which takes a while.
        editor.learned.require_fit(host, editor)
    if find_editor(config.editor).needs_statistics:
        host.second_moment(next(iter(host.modules)))  # Now: it would break the bar of the edits.
    if config.trunk and host.trunk is None:
        host.use_trunk(for_edits=False)  # a turn that is computed again has no trunk
    if told is not None:
        _take_told(told, folder)
    start = _InFolder(folder, settings, host, observer, told)
    try:
        watch = make_watch(host, config, source, observer, resumed=start.before is not None)
        result = LifelongJob(
            *(host, settings.editor, source, config, start),
            watch=watch,
            recorder=folder,
            observer=observer,
        ).run()
    except Stopped:
        start.settle()
        raise
    finally:
        # Nothing is settled here: who was interrupted within a turn may hold a part of it.
        host.drop_trunk()
    start.settle()
    said |= made.known_before(result.after.answers)
    summary = summarize(settings, result, folder, said)
    conclude(folder, summary, result, observer, save_model=config.save_model)
    return RunResult(config, result, summary, folder.path)


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
        folder.unseal()
        report.write(path)
        folder.seal()
    finally:
        folder.close()


def _job_settings(config: RunConfig) -> dict[str, Any]:
    """Settings as a later process finds them, wherever it is started, and the facts' hash."""
    spec = data.located(data.parse_spec(config.data))
    model = Path(config.model).expanduser()
    located = {"data": str(spec), "model": str(model.resolve()) if model.exists() else config.model}
    for name in ("corpus", "perplexity", "ability_data"):
        value = getattr(config, name)
        if value is not None and (path := Path(value).expanduser()).exists():
            located[name] = str(path.resolve())
    named = {"data_sha256": data.digest(spec), "data_named": config.data}
    return config.model_dump(mode="json") | located | named


def _same_edits(config: RunConfig, job: Job, folder: RunFolder) -> EditSource:
    """Read the facts of an interrupted job again.

    Raises:
        DataError: If they are no longer those that it was begun with.
    """
    spec = data.parse_spec(config.data)
    head = folder.journal.head()
    end = (
        f"To end the run where it stands, type `ultraedit rollback {folder.path} --to-turn {head}`."
    )
    if not data.is_there(spec):
        raise DataError(f"The facts of this run are gone: there is no {spec.path}. {end}")
    if data.digest(spec) != job.data_sha256:
        raise DataError(f"{spec.path} has changed since this run was begun. Put it back. {end}")
    return _named_once(read_edits(config), config, folder.journal, job.first_turn, again=True)


def _named_once(
    source: EditSource,
    config: RunConfig,
    journal: Journal | None = None,
    before: int = 1,
    *,
    again: bool = False,
) -> EditSource:
    """Give the facts of a job ids that no other edit of the run has, and say which are new.

    Args:
        source: The facts.
        config: The settings of the job.
        journal: The run that they are added to; None for a new one.
        before: The first turn of the job.
        again: Whether it was said before, when the job began.
    """
    taken = () if journal is None else journal.names(before)
    file = data.parse_spec(config.data).path.name
    source, changes = stream.named_once(source, file, taken)
    if changes and not again:
        old, new = changes[0]
        many = "1 edit has" if len(changes) == 1 else f"{len(changes):,} edits have"
        _log.warning(
            "%s an id that another edit of the run has, and a new one: %r is now %r%s.",
            *(many, old, new, ", and so on" if len(changes) > 1 else ""),
        )
    return source


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed % 2**64)  # torch refuses numbers that do not fit its 64 bits


def _take_told(path: Path, folder: RunFolder) -> None:
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


def _keep_told(path: Path, folder: RunFolder, before: Evaluation) -> None:
    """Keep what the unedited model has told a run, with its record, for those that come after."""
    lines = (folder.path / RECORDS).read_text(encoding="utf-8").splitlines()
    record = json.loads(lines[0])
    assert record.pop("kind") == "checkpoint" and record["turn"] == 0
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"before": before_to_json(before), "record": record}
    write_text(path, json.dumps(kept, ensure_ascii=False))

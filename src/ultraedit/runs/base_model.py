"""The unedited model of a run: loaded, checked, and ready to be edited, by one process or more."""

from __future__ import annotations

from typing import NamedTuple

from ultraedit import models
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import Master, Observer
from ultraedit.host import distributed
from ultraedit.host.distributed.shared_host import SharedHost
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import provider
from ultraedit.lifelong.loop import keep_freed_memory
from ultraedit.models import LanguageModel
from ultraedit.models.delta import short
from ultraedit.models.fingerprint import fingerprint
from ultraedit.runs.config import RunConfig
from ultraedit.runs.resolution import ResolvedSettings, resolved_again
from ultraedit.runs.store import Journal


class ModelSource(NamedTuple):
    """All that a process must know to load the model of a run and to edit its modules."""

    model: str
    modules: tuple[str, ...]
    dtype: str
    device: str
    device_map: str | None
    master: Master

    @classmethod
    def of(cls, settings: ResolvedSettings) -> ModelSource:
        """What the settings of a run say of it.

        Raises:
            ConfigError: If the processes of this job cannot each have such a model.
        """
        distributed.require_device(settings.device)
        config = settings.config
        if config.device_map == "auto" and distributed.size() > 1:
            raise ConfigError(
                "--device-map auto takes all devices for one process, and "
                f"{distributed.size()} are at "
                "work. Leave it out, take stream, or start without torchrun."
            )
        master: Master = getattr(settings.editor, "master", "float32")
        where = settings.dtype, settings.device, config.device_map
        return cls(config.model, settings.modules, *where, master)

    def load(self) -> LanguageModel:
        """Load the model.

        Raises:
            ConfigError: If there is none of its name, or it cannot be loaded.
        """
        if self.device_map == "stream":
            return models.load_streamed(
                self.model, self.modules, dtype=self.dtype, device=self.device
            )
        if self.device_map == "auto":
            return models.load(self.model, dtype=self.dtype, device_map="auto")
        return models.load(self.model, dtype=self.dtype, device=self.device)

    def host(self) -> ModelHost:
        """What a process keeps that helps the first one."""
        keep_freed_memory()
        return ModelHost(self.load(), self.modules, self.master)


def load_base(journal: Journal, settings: ResolvedSettings) -> LanguageModel:
    """Load the unedited model of a run, and check that it still is that model.

    Raises:
        ConfigError: If there is none of its name, or its weights are others.
    """
    loaded = ModelSource.of(settings).load()
    _check(journal, settings.config.model, fingerprint(loaded.model))
    return loaded


def open_host(
    journal: Journal,
    observer: Observer,
    settings: ResolvedSettings | None = None,
    *,
    turn: int | None = None,
) -> tuple[ModelHost, ResolvedSettings]:
    """Load the unedited model of a run as a host that edits the run's modules.

    A run that has no model yet gets this one. Where several processes are at work, every one of
    them loads it.

    Args:
        journal: The run.
        observer: Told of it.
        settings: The settings of the newest job. None takes them from the journal.
        turn: Where the run will be brought to; None for the last active turn.

    Raises:
        ConfigError: If the model is gone or another, or the settings no longer hold.
        StorageError: If the snapshot that the turn is restored from is gone.
    """
    settings = settings or resolved_again(journal)
    _require_snapshot(journal, journal.head() if turn is None else turn)
    observer.stage("Loading the model")
    source = ModelSource.of(settings)
    copies = distributed.Copies(ModelSource.host, source) if distributed.size() > 1 else None
    loaded = source.load()
    of_model = fingerprint(loaded.model)
    if journal.value("fingerprint") is None:
        journal.set_value("fingerprint", of_model)
    _check(journal, settings.config.model, of_model)
    first = RunConfig.of_job(journal.jobs()[0])
    prompts = journal.value("prompts") or ()
    statistics = provider(first.corpus, first.corpus_samples, prompts, observer)
    if copies is None:
        return ModelHost(loaded, source.modules, source.master, statistics), settings
    host = SharedHost(loaded, source.modules, source.master, statistics, copies)
    host.require_same_weights()
    return host, settings


def _require_snapshot(journal: Journal, turn: int) -> None:
    """Refuse a run whose snapshot is gone, before its model is loaded.

    Raises:
        StorageError: If it is.
    """
    saved = next(iter(journal.snapshots_before(turn)), None)
    path = None if saved is None else journal.path.parent / saved.path
    if path is not None and not path.is_file():
        raise StorageError(
            f"The snapshot {path} is gone, from which turn {turn} is restored. Put it back; "
            f"`ultraedit verify {journal.path.parent}` says what else is missing."
        )


def _check(journal: Journal, model: str, of_model: str) -> None:
    """Refuse weights that are not those of the run.

    Raises:
        ConfigError: If they are others.
    """
    noted = journal.value("fingerprint")
    if noted is not None and of_model != noted:
        raise ConfigError(
            f"{model} is not the model that {journal.path.parent} was begun with: its "
            f"weights have the fingerprint {short(of_model)}, those of the run {short(noted)}. "
            "Put that model back."
        )

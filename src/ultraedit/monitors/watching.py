"""All that is watched of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ultraedit.host import ModelHost
from ultraedit.monitors.control import Control, control_edits
from ultraedit.monitors.guard import Guard
from ultraedit.monitors.locality import PROMPTS, Locality
from ultraedit.monitors.spectra import Spectra
from ultraedit.stream import Source
from ultraedit.types import Nobody, Observer, Scores

if TYPE_CHECKING:
    from ultraedit.ability import Settings
    from ultraedit.config import RunConfig

NAMES = ("spectrum", "locality")
"""Monitors that need nothing but their name."""


class Monitor(Protocol):
    """Something that is measured at every checkpoint."""

    @property
    def name(self) -> str:
        """What its values stand under in a record."""
        ...

    def measure(self) -> dict[str, Any]:
        """Look at the model as it stands. Plain values, as JSON has them."""
        ...


class Ability:
    """General ability, by lm-eval."""

    name = "ability"

    def __init__(self, host: ModelHost, settings: Settings) -> None:
        self._host, self._settings = host, settings

    def measure(self) -> dict[str, Any]:
        """By task what `ability.TaskScore` holds."""
        from ultraedit.ability import measure

        unedited = self._host.weights.unedited
        found = measure(self._host.language_model, self._settings, unedited=unedited)
        return {name: asdict(score) for name, score in found.items()}


@dataclass
class Watch:
    """The monitors of a run and the guard over them. Made while the model is unedited."""

    host: ModelHost
    monitors: Sequence[Monitor] = ()
    guard: Guard = field(default_factory=Guard)
    observer: Observer = field(default_factory=Nobody)
    resumed: bool = False
    """Whether the unedited model is on record: what takes long does not look at it again."""
    reads: bool = False
    """Whether the perplexity of a text is among the scores."""
    unedited: dict[str, Any] = field(default_factory=dict)
    """What the monitors saw of the unedited model."""

    def __post_init__(self) -> None:
        """Check that the guard's thresholds are watched, and look at the unedited model.

        Raises:
            ConfigError: If one is not.
        """
        names = {monitor.name for monitor in self.monitors}
        self.guard.require(frozenset(names | {"perplexity"} if self.reads else names))
        skipped = {Ability.name} if self.resumed else set()
        self.unedited = self._look(skipped)

    def look(self) -> dict[str, Any]:
        """Look at the model as it stands."""
        return self._look(set())

    def _look(self, skipped: set[str]) -> dict[str, Any]:
        found = {}
        for monitor in self.monitors:
            if monitor.name in skipped:
                continue
            self.observer.stage(f"Watching: {monitor.name}")
            found[monitor.name] = monitor.measure()
        return found

    def breach(
        self, now: dict[str, Any], norms: Mapping[str, float], scores: Scores, before: Scores
    ) -> str | None:
        """Why the model is not let through by the guard; None if it is.

        Args:
            now: What the monitors see.
            norms: `ModelHost.asked_norms` of the model that they see.
            scores: Scores of the model as it stands.
            before: Those of the unedited model.
        """
        ratio = None
        if scores.perplexity is not None and before.perplexity is not None:
            ratio = scores.perplexity / before.perplexity
        return self.guard.breach(norms, now, ratio)


def make_watch(
    host: ModelHost, config: RunConfig, source: Source, observer: Observer, *, resumed: bool
) -> Watch:
    """What the settings of a run ask to be watched.

    Args:
        host: The model, unedited.
        config: The settings.
        source: The run's edits.
        observer: Told of each look.
        resumed: Whether the unedited model is on record.

    Raises:
        ConfigError: If a monitor lacks what it needs.
        DataError: If the control questions cannot be read.
    """
    monitors: list[Monitor] = []
    if "spectrum" in config.monitor:
        monitors.append(Spectra(host))
    if "locality" in config.monitor:
        monitors.append(Locality(host, islice(source.after(), 100 * PROMPTS)))
    if config.control:
        edited = [edit.prompt for edit in source.after()]
        spec, count = config.data, config.control
        edits = control_edits(spec, edited, source.total, count, config.seed)
        monitors.append(Control(host, edits))
    if config.ability:
        monitors.append(Ability(host, _ability(config)))
    guard, reads = Guard(config.guard, config.guard_action), config.perplexity is not None
    return Watch(host, monitors, guard, observer, resumed, reads)


def _ability(config: RunConfig) -> Settings:
    from ultraedit.ability import Settings, require_tasks

    require_tasks(config.ability)
    root = None if config.ability_data is None else Path(config.ability_data)
    return Settings(tasks=config.ability, root=root, limit=config.ability_limit)

"""What the settings of a run ask to be watched while it edits."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from ultraedit.core.types import Observer
from ultraedit.data.streams import EditSource
from ultraedit.evaluation import ability
from ultraedit.evaluation.monitors import (
    Ability,
    Control,
    Guard,
    Locality,
    Monitor,
    Spectra,
    Watch,
    control_edits,
)
from ultraedit.evaluation.monitors.locality import PROMPTS
from ultraedit.host.host import ModelHost
from ultraedit.runs.config import RunConfig


def make_watch(
    host: ModelHost, config: RunConfig, source: EditSource, observer: Observer, *, resumed: bool
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


def _ability(config: RunConfig) -> ability.Settings:
    ability.require_tasks(config.ability)
    root = None if config.ability_data is None else Path(config.ability_data)
    return ability.Settings(tasks=config.ability, root=root, limit=config.ability_limit)

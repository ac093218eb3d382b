"""A run from its settings to its folder: check, load, edit, score, save, report."""

from __future__ import annotations

import platform
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ultraedit import data, models, report
from ultraedit.config import RunConfig
from ultraedit.editors import base_of, find_editor, make_editor
from ultraedit.lifelong import keep_freed_memory
from ultraedit.models.hardware import choose_device, choose_dtype
from ultraedit.second_moments import Statistics, check_corpus, provider
from ultraedit.session import EditResult, choose_preset, edit
from ultraedit.store import RunFolder
from ultraedit.types import Edit, Editor, Nobody, Observer

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.models import LanguageModel, Preset


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
    keep_freed_memory()
    make_editor(config.editor, config.options)
    edits = read_edits(config)
    check_corpus(config.corpus)
    statistics = _statistics(config, edits, observer)
    folder = RunFolder(out)
    try:
        folder.write_json("config.json", describe(config))
        observer.stage("Loading the model")
        settings = resolve(config, models.load_config(config.model))
        folder.write_json("config.json", describe(config, settings))
        language_model = models.load(config.model, dtype=config.dtype, device=config.device)
        if statistics is not None:  # Now, so that the bar of the editing is not broken off.
            found = models.find_modules(language_model.model, settings.modules, name=config.model)
            statistics.moments(language_model, found)
        _seed(config.seed)
        result = edit(
            language_model,
            edits,
            settings.editor,
            modules=settings.modules,
            edits_per_turn=config.edits_per_turn,
            free_answers=config.free_answers,
            statistics=statistics,
            recorder=folder,
            observer=observer,
        )
        return _conclude(config, settings, result, folder, observer)
    except BaseException:
        if not folder.begun:
            folder.discard()
        raise


def _statistics(
    config: RunConfig, edits: Sequence[Edit], observer: Observer | None = None
) -> Statistics | None:
    """Where the editor's second moments come from; None where it needs none."""
    if not find_editor(base_of(config.editor, config.options) or config.editor).needs_statistics:
        return None
    prompts = [edit.prompt for edit in edits]
    return provider(config.corpus, config.corpus_samples, prompts, observer)


def read_edits(config: RunConfig) -> list[Edit]:
    """Read the facts of a run, all of them checked before anything else happens.

    Raises:
        DataError: If the file, or any row of it within the limits, cannot be used.
    """
    return data.read(config.data, limit=config.edit_limit, seed=config.seed)


@dataclass(frozen=True)
class Settings:
    """What a run uses once defaults are filled in, and where the defaults came from."""

    editor: Editor
    modules: tuple[str, ...]
    preset: Preset
    dtype: str
    device: str


def resolve(config: RunConfig, model: LanguageModel | PretrainedConfig) -> Settings:
    """Fill in what the user left open from a preset; what the user chose wins.

    Args:
        config: The settings as they were given.
        model: The model, or its config, which says enough.

    Raises:
        ConfigError: If there is no such preset, or its values do not suit the editor.
    """
    editor = base_of(config.editor, config.options) or config.editor
    if config.preset is not None:
        preset = models.load_preset(config.preset, editor)
    else:
        format = data.parse_spec(config.data).format
        preset = choose_preset(model, format, config.modules, editor)
    options = offered(config, preset) | config.options
    device = choose_device(config.device)
    return Settings(
        editor=make_editor(config.editor, options),
        modules=preset.modules if config.modules is None else config.modules,
        preset=preset,
        dtype=str(choose_dtype(config.dtype, device)).removeprefix("torch."),
        device=str(device),
    )


def offered(config: RunConfig, preset: Preset) -> dict[str, Any]:
    """The options of a run's editor that a preset has a value for.

    Those of an editor that is wrapped by another come as ``base.NAME``.
    """
    wrapped = base_of(config.editor, config.options)
    editor, prefix = wrapped or config.editor, "base." if wrapped else ""
    options = dict(preset.options)
    if not models.has_presets(editor):
        known = {field.name for field in fields(find_editor(editor).load())}  # type: ignore[arg-type]
        own = {"eta": preset.eta or "auto", "ridge": preset.ridge, "protocol": preset.protocol}
        options |= {key: value for key, value in own.items() if key in known and value is not None}
    return {f"{prefix}{key}": value for key, value in options.items()}


def describe(config: RunConfig, settings: Settings | None = None) -> dict[str, Any]:
    """What ``config.json`` holds: the settings, what they became, and the versions at work."""
    described: dict[str, Any] = {
        "settings": config.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("ultraedit", "torch", "transformers")}
        | {"python": platform.python_version()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if settings is not None:
        described["resolved"] = {
            "options": asdict(settings.editor),  # type: ignore[call-overload]
            "modules": list(settings.modules),
            "preset": settings.preset.name,
            "preset_source": settings.preset.source,
            "dtype": settings.dtype,
            "device": settings.device,
            "statistics": getattr(_statistics(config, ()), "source", None),
        }
    return described


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed % 2**64)  # torch refuses numbers that do not fit its 64 bits


def summarize(config: RunConfig, settings: Settings, result: EditResult) -> dict[str, Any]:
    """The run in one object: ``summary.json``."""
    seconds = result.progress.seconds
    return {
        "model": config.model,
        "data": config.data,
        "editor": config.editor,
        "edits": result.progress.edits,
        "turns": result.progress.turns,
        "overruled": result.after.overruled,
        "edit_seconds": seconds,
        "edits_per_second": result.progress.edits / seconds,
        "peak_memory_bytes": result.turns[-1].memory_bytes,
        "before": asdict(result.before.scores),
        "after": asdict(result.after.scores),
        "resolved": describe(config, settings)["resolved"],
    }


def _conclude(
    config: RunConfig,
    settings: Settings,
    result: EditResult,
    folder: RunFolder,
    observer: Observer,
) -> RunResult:
    """Write the summary and the report, then the model, which may fill the disk."""
    summary = summarize(config, settings, result)
    folder.write_json("summary.json", summary)
    folder.answers(result.after.answers)
    observer.stage("Writing the report")
    report.write(folder.path)
    if config.save_model:
        observer.stage("Saving the edited model")
        result.save(folder.path / "model")
    return RunResult(config, result, summary, folder.path)

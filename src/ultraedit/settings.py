"""What a run uses once defaults are filled in, and where each came from."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ultraedit import data, models
from ultraedit.config import RunConfig
from ultraedit.editors import base_of, find_editor, make_editor
from ultraedit.models.hardware import choose_device, choose_dtype
from ultraedit.second_moments import provider
from ultraedit.session import choose_preset
from ultraedit.types import Editor

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.models import LanguageModel, Preset
    from ultraedit.store import Journal


@dataclass(frozen=True)
class Settings:
    """What a run uses once defaults are filled in, and where the defaults came from."""

    editor: Editor
    modules: tuple[str, ...]
    preset: str
    """Name of the preset."""
    preset_source: str
    dtype: str
    device: str
    offered: dict[str, Any]
    """Values of the preset for options of the editor."""


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
    suitable = _offered(preset, editor, "" if editor == config.editor else "base.")
    device = choose_device(config.device)
    return Settings(
        editor=make_editor(config.editor, suitable | config.options),
        modules=preset.modules if config.modules is None else config.modules,
        preset=preset.name,
        preset_source=preset.source,
        dtype=str(choose_dtype(config.dtype, device)).removeprefix("torch."),
        device=str(device),
        offered=suitable,
    )


def _offered(preset: Preset, editor: str, prefix: str) -> dict[str, Any]:
    """The options of an editor that a preset has a value for, each name after a prefix.

    What a preset says of eta, ridge and protocol is UltraEdit's, and not for an editor with presets
    of its own.
    """
    options = dict(preset.options)
    if not models.has_presets(editor):
        known = {field.name for field in fields(find_editor(editor).load())}  # type: ignore[arg-type]
        own = {"eta": preset.eta or "auto", "ridge": preset.ridge, "protocol": preset.protocol}
        options |= {key: value for key, value in own.items() if key in known and value is not None}
    return {f"{prefix}{key}": value for key, value in options.items()}


def describe(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """What ``config.json`` holds: the settings, what they became, and the versions at work."""
    needs = find_editor(config.editor).needs_statistics
    return {
        "settings": config.model_dump(mode="json"),
        "resolved": {
            "options": asdict(settings.editor),  # type: ignore[call-overload]
            "modules": list(settings.modules),
            "preset": settings.preset,
            "preset_source": settings.preset_source,
            "dtype": settings.dtype,
            "device": settings.device,
            "statistics": provider(config.corpus, config.corpus_samples).source if needs else None,
        },
        "versions": {name: version(name) for name in ("ultraedit", "torch", "transformers")}
        | {"python": platform.python_version()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def resolved_again(journal: Journal) -> Settings:
    """The settings that a run was begun with, whatever presets say by now.

    The device may be another one: the run may have moved to another machine.

    Raises:
        ConfigError: If this version of the program no longer has its editor or an option of it.
    """
    resolved, settings = journal.value("resolved"), journal.value("settings")
    return Settings(
        editor=make_editor(settings["editor"], resolved["options"]),
        modules=tuple(resolved["modules"]),
        preset=resolved["preset"],
        preset_source=resolved["preset_source"],
        dtype=resolved["dtype"],
        device=str(choose_device(settings["device"])),
        offered={},
    )

"""What a run uses once defaults are filled in, and where each came from."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ultraedit import data, models
from ultraedit.config import RunConfig
from ultraedit.editors import find_editor, make_editor
from ultraedit.models.hardware import choose_device, choose_dtype
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
    if config.preset is not None:
        preset = models.load_preset(config.preset)
    else:
        format = data.parse_spec(config.data).format
        preset = choose_preset(model, format, config.modules)
    known = {field.name for field in fields(find_editor(config.editor).load())}  # type: ignore[arg-type]
    suitable = {key: value for key, value in _offered(preset).items() if key in known}
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


def _offered(preset: Preset) -> dict[str, Any]:
    """The editor options that a preset has a value for, whether or not an editor takes them."""
    options = {"eta": preset.eta or "auto", "ridge": preset.ridge, "protocol": preset.protocol}
    return {key: value for key, value in options.items() if value is not None}


def describe(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """What ``config.json`` holds: the settings, what they became, and the versions at work."""
    return {
        "settings": config.model_dump(mode="json"),
        "resolved": {
            "options": asdict(settings.editor),  # type: ignore[call-overload]
            "modules": list(settings.modules),
            "preset": settings.preset,
            "preset_source": settings.preset_source,
            "dtype": settings.dtype,
            "device": settings.device,
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

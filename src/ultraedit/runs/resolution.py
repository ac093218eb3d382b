"""What a run uses once defaults are filled in, and where each value came from.

A value is of the ``user``, of a ``preset NAME``, of a ``tuned FILE``, ``auto`` where the program
found it from the model, the machine or the facts, or a ``default``. Behind a colon stands what
made it so, as in ``default: protocol paper``.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ultraedit import data, models
from ultraedit.core.sources import of_editor
from ultraedit.core.types import Editor
from ultraedit.editors import base_of, find_editor, make_editor
from ultraedit.editors.seeds import OPTIONS
from ultraedit.host.second_moments import provider
from ultraedit.models import choose_preset
from ultraedit.models.hardware import choose_device, choose_dtype
from ultraedit.models.quantized import refuse_quantized
from ultraedit.runs.config import RunConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.models import LanguageModel, Preset
    from ultraedit.runs.store import Journal


@dataclass(frozen=True)
class ResolvedSettings:
    """All that a job runs with: its settings, what these became, and where defaults came from."""

    config: RunConfig
    """The settings as they were given."""
    editor: Editor
    modules: tuple[str, ...]
    preset: str
    """Name of the preset."""
    preset_source: str
    dtype: str
    device: str
    offered: dict[str, Any]
    """Values of the preset for options of the editor."""

    sources: dict[str, str] = field(default_factory=dict)
    """Where each value came from, by the name of the setting or of the editor's option."""


COUNTED = "auto: edits of the run"
"""Source of an option that the number of facts decided."""

SEEDED = "user: seed of the run"
"""Source of an editor's own seed."""

USER, AUTO, DEFAULT = "user", "auto", "default"


def resolve(
    config: RunConfig, model: LanguageModel | PretrainedConfig, *, edits: int | None = None
) -> ResolvedSettings:
    """Fill in what the user left open from a preset; what the user chose wins.

    Args:
        config: The settings as they were given.
        model: The model, or its config, which says enough.
        edits: How many edits the run will make, for editors that ask; None where nobody knows.

    Raises:
        ConfigError: If there is no such preset, its values do not suit the editor, or the weights
            of the model are quantized in a way that cannot be edited.
    """
    refuse_quantized(
        model.config if isinstance(model, models.LanguageModel) else model, config.model
    )
    editor = base_of(config.editor, config.options) or config.editor
    if config.preset is not None:
        preset = models.load_preset(config.preset, editor)
    else:
        format = data.parse_spec(config.data).format
        preset = choose_preset(model, format, config.modules, editor)
    prefix = "" if editor == config.editor else "base."
    suitable = _offered(preset, editor, prefix)
    counted = {} if edits is None else _counted(editor, edits, prefix)
    seeded = _seeded(editor, config.seed, prefix)
    device = choose_device(config.device)
    made = make_editor(config.editor, counted | seeded | suitable | config.options)
    return ResolvedSettings(
        config=config,
        editor=made,
        modules=preset.modules if config.modules is None else config.modules,
        preset=preset.name,
        preset_source=preset.source,
        dtype=str(choose_dtype(config.dtype, device)).removeprefix("torch."),
        device=str(device),
        offered=suitable,
        sources=_joined(
            _of_options(config, made, preset, suitable, counted, seeded), _of_run(config, preset)
        ),
    )


def _joined(options: Mapping[str, str], run: Mapping[str, str]) -> dict[str, str]:
    """Sources of both; of an option that is called like a setting of the run by a longer name."""
    both = {of_editor(name): options[name] for name in options.keys() & run.keys()}
    return {**options, **run, **both}


def _counted(editor: str, edits: int, prefix: str) -> dict[str, Any]:
    """The option by which an editor is told how many edits the run will make."""
    known = {each.name for each in fields(find_editor(editor).load())}  # type: ignore[arg-type]
    return {f"{prefix}expected_edits": edits} if "expected_edits" in known else {}


def _seeded(editor: str, seed: int, prefix: str) -> dict[str, Any]:
    """The options by which an editor is told the run's seed, where that is not the default."""
    known = {each.name for each in fields(find_editor(editor).load())}  # type: ignore[arg-type]
    default = RunConfig.model_fields["seed"].default
    return {f"{prefix}{name}": seed for name in OPTIONS if name in known and seed != default}


def _of_options(
    config: RunConfig,
    editor: Editor,
    preset: Preset,
    offered: Mapping[str, Any],
    counted: Mapping[str, Any],
    seeded: Mapping[str, Any],
) -> dict[str, str]:
    """Where each option of an editor came from; those of a wrapped one stand together."""
    origins = {}
    for option in fields(editor):  # type: ignore[arg-type]
        value = getattr(editor, option.name)
        within = ("base.",) if option.name == "base_options" else ()
        said = [
            source
            for source, names in (
                (USER, config.options),
                (_of_offered(preset, option.name), offered),
                (COUNTED, counted),
                (SEEDED, seeded),
            )
            if option.name in names or any(name.startswith(within) for name in names if within)
        ]
        if said:
            # The user's word comes first; a wrapped editor may have options of several.
            origins[option.name] = ", ".join(said) if within else said[0]
        elif option.name in find_editor(config.editor).options:
            origins[option.name] = f"{DEFAULT}: editor {config.editor}"
        elif option.default is None and value is not None:
            protocol = getattr(editor, "protocol", "")
            origins[option.name] = f"{DEFAULT}: protocol {protocol}".removesuffix(" ")
        else:
            origins[option.name] = DEFAULT
    return origins


def _of_offered(preset: Preset, option: str) -> str:
    """Where a value that came with a preset came from."""
    if option == "eta" and preset.eta is None and not preset.tuned:
        return AUTO
    return preset.origin if preset.measured else DEFAULT


def _of_run(config: RunConfig, preset: Preset) -> dict[str, str]:
    """Where what does not belong to the editor came from."""
    given = {
        name: USER if getattr(config, name) != setting.default else DEFAULT
        for name, setting in RunConfig.model_fields.items()
        if name in ("edits_per_turn", "seed", "editor")
    }
    automatic = {
        name: AUTO if getattr(config, name) == AUTO else USER for name in ("dtype", "device")
    }
    modules = preset.origin if config.modules is None else USER
    return (
        given | automatic | {"modules": modules, "preset": AUTO if config.preset is None else USER}
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


def describe(settings: ResolvedSettings) -> dict[str, Any]:
    """What ``config.json`` holds: the settings, what they became, and the versions at work."""
    config = settings.config
    needs = find_editor(config.editor).needs_statistics
    return {
        "settings": config.model_dump(mode="json"),
        "resolved": {
            "options": asdict(settings.editor),  # type: ignore[call-overload]
            "modules": list(settings.modules),
            "preset": settings.preset,
            "preset_source": settings.preset_source,
            "sources": settings.sources,
            "dtype": settings.dtype,
            "device": settings.device,
            "statistics": provider(config.corpus, config.corpus_samples).source if needs else None,
        },
        "versions": {name: version(name) for name in ("ultraedit", "torch", "transformers")}
        | {"python": platform.python_version()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def resolved_again(journal: Journal, config: RunConfig | None = None) -> ResolvedSettings:
    """What the settings of a run became when it was begun, whatever presets say by now.

    Args:
        journal: The run.
        config: Settings of a job that is about to begin. None takes those of the newest job.

    The device may be another one: the run may have moved to another machine.

    Raises:
        ConfigError: If this version of the program no longer has its editor or an option of it.
    """
    resolved, settings = journal.value("resolved"), journal.value("settings")
    return ResolvedSettings(
        config=RunConfig.of_job(journal.job()) if config is None else config,
        editor=make_editor(settings["editor"], resolved["options"]),
        modules=tuple(resolved["modules"]),
        preset=resolved["preset"],
        preset_source=resolved["preset_source"],
        dtype=resolved["dtype"],
        device=str(choose_device(settings["device"])),
        offered={},
        sources=resolved.get("sources", {}),
    )

"""Presets: which modules to edit with which step, as data, one TOML file per model family."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.errors import ConfigError, did_you_mean
from ultraedit.models.language_model import (
    LanguageModel,
    empty_model,
    intermediate_size,
    text_config,
)
from ultraedit.models.modules import describe_modules
from ultraedit.models.patterns import format_numbers
from ultraedit.models.preset_rows import check_row

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MLP_OUTPUTS = ("mlp.down_proj", "mlp.fc_out", "mlp.c_proj", "mlp.fc2", "mlp.dense_4h_to_h", "fc2")
"""What families call the matrix that leads out of the MLP."""


@dataclass(frozen=True)
class Preset:
    """Edit modules and step size for one model on one data set."""

    name: str
    """Such as ``gpt-j-6b/zsre``, or the path of the user's file."""

    modules: tuple[str, ...]
    """Patterns for `find_modules`."""

    eta: float | None
    """Scale of the step. None where nothing is known about the model."""

    ridge: float
    """Penalty on the size of the update."""

    source: str
    """Where the values come from."""

    protocol: str | None = None
    """``paper`` or ``official`` where a user's file asks for one."""


def find_preset(model: LanguageModel | PretrainedConfig, data_format: str | None) -> Preset:
    """Choose the preset of a model for a data format.

    A family is recognised by its shape, not by its name, so a fine-tuned or renamed model gets the
    preset of its base. Without a row for the format it is the family's default row; without
    a family the MLP outputs between 0.90 and 0.95 of the depth, where the paper edits Mistral.

    Args:
        model: The model, or its config.
        data_format: Name of the data format, such as ``zsre``; None for no particular one.

    Raises:
        ConfigError: If the model is of no known family and no MLP output is found in it.
    """
    config = model.config if isinstance(model, LanguageModel) else text_config(model)
    for family, table in _families().items():
        if table["match"] == _shape(config):
            rows = table["presets"]
            row = data_format if data_format is not None and data_format in rows else None
            return _shipped(family, row or table["default"])
    return _by_relative_depth(model)


def list_presets() -> tuple[Preset, ...]:
    """All presets that ship with the package, by family and data format."""
    return tuple(
        _shipped(family, row) for family, table in _families().items() for row in table["presets"]
    )


def load_preset(name: str | Path) -> Preset:
    """Read a preset from a TOML file, or take a shipped one by name.

    A file holds ``modules`` (a pattern or a list of them) and may hold ``eta``, ``ridge``,
    ``protocol`` and ``source``.

    Args:
        name: A path that exists or ends in ``.toml``, or a name such as ``gpt-j-6b/zsre``. The
            family alone, ``gpt-j-6b``, stands for its default row.

    Raises:
        ConfigError: If there is no such preset, or the file cannot be used.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.suffix == ".toml":
        return Preset(name=str(path), **check_row(_read_toml(path), str(path)))
    family, _, row = str(name).partition("/")
    table = _families().get(family)
    if table is not None and (row or table["default"]) in table["presets"]:
        return _shipped(family, row or table["default"])
    known = [preset.name for preset in list_presets()]
    raise ConfigError(
        f"Unknown preset {str(name)!r}: it is neither a TOML file nor the name of a preset. "
        f"{did_you_mean(str(name), known)}"
    )


def _shipped(family: str, row: str) -> Preset:
    name = f"{family}/{row}"
    return Preset(name=name, **check_row(_families()[family]["presets"][row], name))


@cache
def _families() -> dict[str, dict[str, Any]]:
    """The shipped files by family name."""
    folder = files("ultraedit.models") / "presets"
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in found
        if file.name.endswith(".toml")
    }


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"The preset {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        # Both bad UTF-8 and bad TOML, which says the line itself.
        raise ConfigError(f"The preset {path} is not valid TOML: {error}.") from error


def _shape(config: PretrainedConfig) -> dict[str, str | int]:
    """What a family is recognised by."""
    return {
        "model_type": config.model_type,
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": intermediate_size(config),
    }


def _by_relative_depth(model: LanguageModel | PretrainedConfig) -> Preset:
    """MLP outputs between 0.90 and 0.95 of the depth: layers 29 and 30 of 32.

    Never the last layer, whose output no later layer reads, and two layers where there are
    enough.
    """
    groups = describe_modules(
        model.model if isinstance(model, LanguageModel) else empty_model(model)
    )
    kinds = {group.kind for group in groups}
    kind = next((kind for kind in MLP_OUTPUTS if kind in kinds), None)
    if kind is None:
        raise ConfigError(
            "There is no preset for this model, and none of its layers is known to lead out of an "
            f"MLP (it has {', '.join(sorted(kinds))}). Choose with --modules."
        )
    numbers = sorted(layer for group in groups if group.kind == kind for layer in group.layers)
    layers = [numbers[place] for place in relative_depth(len(numbers))]
    return Preset(
        name="relative-depth",
        modules=(f"layers.[{format_numbers(layers)}].{kind}",),
        eta=None,
        ridge=1.0,
        source="relative depth",
    )


def relative_depth(count: int) -> range:
    """Layers between 0.90 and 0.95 of the depth of a model with `count` layers."""
    last = max(0, min(round(0.95 * count), count - 2))
    first = max(0, min(round(0.90 * count), last - 1))
    return range(first, last + 1)

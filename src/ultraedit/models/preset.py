"""Presets: which modules to edit with which step, as data, one TOML file per model family."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from ultraedit.errors import ConfigError, did_you_mean
from ultraedit.models.language_model import LanguageModel, intermediate_size, text_config
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

    editor: str | None = None
    """The editor that it is for, whose options are in `options` alone; None for UltraEdit's."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the editor by name."""

    @property
    def offers(self) -> dict[str, Any]:
        """Every editor option that it has a value for."""
        if self.editor is not None:
            return dict(self.options)
        own = {"eta": self.eta or "auto", "ridge": self.ridge, "protocol": self.protocol}
        return {key: value for key, value in own.items() if value is not None} | dict(self.options)


DEPTHS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "memit": (0.125, 0.25),
        "alphaedit": (0.125, 0.25),
    }
)
"""Between which shares of the depth an editor writes where no preset knows better. The released
MEMIT and AlphaEdit edit layers 4 to 8 of 32. Other editors write where UltraEdit does."""


def find_preset(
    model: LanguageModel | PretrainedConfig, data_format: str | None, editor: str = "ultraedit"
) -> Preset:
    """Choose the preset of a model for a data format and an editor.

    A family is recognised by its shape, not by its name, so a fine-tuned or renamed model gets the
    preset of its base. An editor with a row of its own gets that one, whatever the format. Without
    a row for the format it is the family's default row; without a family the MLP outputs
    between 0.90 and 0.95 of the depth, where the paper edits Mistral, or as `DEPTHS` says.

    Args:
        model: The model, or its config.
        data_format: Name of the data format, such as ``zsre``; None for no particular one.
        editor: Name of the editor.

    Raises:
        ConfigError: If the model is of no known family and no MLP output is found in it.
    """
    config = model.config if isinstance(model, LanguageModel) else text_config(model)
    for family, table in _families().items():
        if table["match"] == _shape(config):
            if editor in table.get("editors", {}):
                return _shipped(family, editor)
            if editor not in DEPTHS:
                rows = table["presets"]
                row = data_format if data_format is not None and data_format in rows else None
                return _shipped(family, row or table["default"])
    return _by_relative_depth(model, editor if editor in DEPTHS else None)


def list_presets() -> tuple[Preset, ...]:
    """All presets that ship with the package: by family the data formats, then the editors."""
    return tuple(_shipped(family, row) for family in _families() for row in _rows(family))


def load_preset(name: str | Path, editor: str = "ultraedit") -> Preset:
    """Read a preset from a TOML file, or take a shipped one by name.

    A file holds ``modules`` (a pattern or a list of them) and may hold ``eta``, ``ridge``,
    ``protocol``, ``source`` and a table ``options`` of further options of the editor.

    Args:
        name: A path that exists or ends in ``.toml``, or a name such as ``gpt-j-6b/zsre`` or
            ``gpt-j-6b/memit``. The family alone, ``gpt-j-6b``, stands for the editor's row, or
            for its default row.
        editor: Name of the editor.

    Raises:
        ConfigError: If there is no such preset, or the file cannot be used.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.suffix == ".toml":
        return _from_file(path, editor)
    family, _, row = str(name).partition("/")
    if family in _families():
        rows = _rows(family)
        row = row or (editor if editor in rows else _families()[family]["default"])
        if row in rows:
            found = _shipped(family, row)
            return replace(found, editor=editor) if editor in DEPTHS else found
    known = [preset.name for preset in list_presets()]
    raise ConfigError(
        f"Unknown preset {str(name)!r}: it is neither a TOML file nor the name of a preset. "
        f"{did_you_mean(str(name), known)}"
    )


def _from_file(path: Path, editor: str) -> Preset:
    """A user's preset. What it leaves out is UltraEdit's default for UltraEdit alone."""
    table = _read_toml(path)
    preset = Preset(name=str(path), **check_row(table, str(path)))
    if editor == "ultraedit":
        return preset
    given = {key: table[key] for key in ("eta", "ridge", "protocol") if key in table}
    return replace(preset, editor=editor, options=given | dict(preset.options))


def _shipped(family: str, row: str) -> Preset:
    name = f"{family}/{row}"
    editor = row if row in _families()[family].get("editors", {}) else None
    return Preset(name=name, **check_row(_rows(family)[row], name), editor=editor)


def _rows(family: str) -> dict[str, Any]:
    """The rows of a family: UltraEdit's by data format, the other editors' by their name."""
    table = _families()[family]
    return {**table["presets"], **table.get("editors", {})}


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


def _by_relative_depth(
    model: LanguageModel | PretrainedConfig, editor: str | None = None
) -> Preset:
    """MLP outputs between two shares of the depth: layers 29 and 30 of 32 for UltraEdit.

    Never the last layer, whose output no later layer reads, and two layers where there are
    enough.
    """
    groups = describe_modules(model.model if isinstance(model, LanguageModel) else _empty(model))
    kinds = {group.kind for group in groups}
    kind = next((kind for kind in MLP_OUTPUTS if kind in kinds), None)
    if kind is None:
        raise ConfigError(
            "There is no preset for this model, and none of its layers is known to lead out of an "
            f"MLP (it has {', '.join(sorted(kinds))}). Choose with --modules."
        )
    numbers = sorted(layer for group in groups if group.kind == kind for layer in group.layers)
    depths = DEPTHS[editor] if editor is not None else (0.90, 0.95)
    layers = [numbers[place] for place in relative_depth(len(numbers), *depths)]
    return Preset(
        name="relative-depth",
        modules=(f"layers.[{format_numbers(layers)}].{kind}",),
        eta=None,
        ridge=1.0,
        source="relative depth",
        editor=editor,
    )


def relative_depth(count: int, first: float = 0.90, last: float = 0.95) -> range:
    """Layers between two shares of the depth of a model with `count` layers."""
    end = max(0, min(round(last * count), count - 2))
    start = max(0, min(round(first * count), end - 1))
    return range(start, end + 1)


def _empty(config: PretrainedConfig) -> Any:
    """The model of a config without memory for its weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)

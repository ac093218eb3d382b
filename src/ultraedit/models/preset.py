"""Presets: which modules to edit with which step, as data.

One TOML file per model family in ``presets``, with UltraEdit's rows by data format; and one per
editor with values of its own in ``presets/editors``, with a row per family.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.models.language_model import (
    LanguageModel,
    empty_model,
    intermediate_size,
    text_config,
)
from ultraedit.models.modules import describe_modules
from ultraedit.models.patterns import format_numbers, parse_pattern, split_patterns

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from importlib.abc import Traversable

    from transformers import PretrainedConfig

DEPTH = (0.90, 0.95)
"""Where a model of no known family is edited, as fractions of its depth: where the paper edits
Mistral, layers 29 and 30 of 32."""

RELATIVE_DEPTH, NO_PRESET = "relative-depth", "none"
"""Names of what stands in for the preset of a model that has none."""

MLP_OUTPUTS = ("mlp.down_proj", "mlp.fc_out", "mlp.c_proj", "mlp.fc2", "mlp.dense_4h_to_h", "fc2")
"""What families call the matrix that leads out of the MLP."""

OTHER_OUTPUTS = (
    *("mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj"),
    *("self_attn.o_proj", "self_attn.out_proj", "self_attn.dense", "attention.dense"),
)
"""What is edited where the experts of the MLP are packed into one tensor: an expert that sees every
token, or else the matrix that leads out of the attention."""

RARE_OUTPUTS = ("mlp_block.down_proj", "feed_forward.value", "ffn.2", "mixer.out_proj")
"""The outputs of the MLP in RecurrentGemma, RWKV and CTRL, and of the mixer in Mamba, which has no
MLP. They come last: nothing changes for models that have a layer of those above."""


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

    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the editor, such as ``{"lr": 5e-4}``."""

    tuned: bool = False
    """Whether `ultraedit tune` wrote it."""

    @property
    def measured(self) -> bool:
        """Whether anybody chose its values, rather than taking what every model gets."""
        return self.name not in (RELATIVE_DEPTH, NO_PRESET)

    @property
    def origin(self) -> str:
        """Where its values come from, in a word: ``preset NAME``, ``tuned FILE`` or ``auto``."""
        if not self.measured:
            return f"auto: {self.source}"
        return f"tuned {self.name}" if self.tuned else f"preset {self.name}"


def find_preset(
    model: LanguageModel | PretrainedConfig, data_format: str | None, editor: str | None = None
) -> Preset:
    """Choose the preset of a model for a data format and an editor.

    A family is recognized by its shape, not by its name, so a fine-tuned or renamed model gets the
    preset of its base. Without a row for the format it is the family's default row; without
    a family the MLP outputs between 0.90 and 0.95 of the depth, where the paper edits Mistral.
    An editor with a file of its own gets its family's row there, whatever the format, and without
    one the depth that the file names, if it names one; any other editor edits what UltraEdit does.

    Args:
        model: The model, or its config.
        data_format: Name of the data format, such as ``zsre``; None for no particular one.
        editor: Name of the editor, such as ``ft-l``; None for UltraEdit.

    Raises:
        ConfigError: If the model is of no known family and no MLP output is found in it.
    """
    config = model.config if isinstance(model, LanguageModel) else text_config(model)
    family = next((f for f, table in _families().items() if table["match"] == _shape(config)), None)
    if editor is not None and editor in _editors():
        table = _editors()[editor]
        if family is not None and family in table["models"]:
            return _shipped(family, editor)
        if "depth" in table:
            return _by_relative_depth(model, tuple(table["depth"]))
    if family is None:
        return _by_relative_depth(model)
    table = _families()[family]
    row = data_format if data_format is not None and data_format in table["presets"] else None
    return _shipped(family, row or table["default"])


def choose_preset(
    model: LanguageModel | PretrainedConfig,
    data_format: str | None,
    modules: Sequence[str] | None,
    editor: str | None = None,
) -> Preset:
    """Find the preset of a model, which only has to know its modules where the user does not.

    Args:
        model: The model, or its config.
        data_format: Name of the data format, such as ``zsre``; None for no particular one.
        modules: Patterns that the user chose; None where the preset chooses.
        editor: Name of the editor; None for UltraEdit.

    Raises:
        ConfigError: If nobody knows which modules to edit.
    """
    try:
        return find_preset(model, data_format, editor)
    except ConfigError:
        if modules is None:
            raise
        return Preset(NO_PRESET, tuple(modules), None, 1.0, "no preset for this model")


def list_presets() -> tuple[Preset, ...]:
    """All presets that ship with the package: UltraEdit's by family, then the editors' own."""
    rows = [(family, row) for family, table in _families().items() for row in table["presets"]]
    rows += [(family, name) for name, table in _editors().items() for family in table["models"]]
    return tuple(_shipped(family, row) for family, row in rows)


def has_presets(editor: str) -> bool:
    """Whether an editor has presets of its own, so that UltraEdit's numbers are not for it."""
    return editor in _editors()


def load_preset(name: str | Path, editor: str | None = None) -> Preset:
    """Read a preset from a TOML file, or take a shipped one by name.

    A file holds ``modules`` (a pattern or a list of them) and may hold ``eta``, a number or
    ``"auto"``, ``ridge``, ``protocol``, ``source``, a table ``options`` of further options of the
    editor, and ``tuned = true`` where `ultraedit tune` wrote it.

    Args:
        name: A path that exists or ends in ``.toml``, or a name such as ``gpt-j-6b/zsre`` or
            ``gpt-j-6b/ft-l``. The family alone, ``gpt-j-6b``, stands for the editor's own row, or
            else for its default row.
        editor: Name of the editor; None for UltraEdit.

    Raises:
        ConfigError: If there is no such preset, or the file cannot be used.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.suffix == ".toml":
        return _from_file(path, editor)
    family, _, row = str(name).partition("/")
    if not row and editor is not None and family in _editors().get(editor, {}).get("models", {}):
        row = editor
    row = row or _families().get(family, {}).get("default", "")
    if _row(family, row) is not None:
        return _shipped(family, row)
    known = [preset.name for preset in list_presets()]
    raise ConfigError(
        f"Unknown preset {str(name)!r}: it is neither a TOML file nor the name of a preset. "
        f"{did_you_mean(str(name), known)}"
    )


def _from_file(path: Path, editor: str | None) -> Preset:
    """A user's preset. Where the editor has presets of its own, what it sets is all options."""
    table = _read_toml(path)
    preset = Preset(name=str(path), **check_row(table, str(path)))
    if editor is None or not has_presets(editor):
        return preset
    given = {key: table[key] for key in ("eta", "ridge", "protocol") if key in table}
    return replace(preset, options=given | dict(preset.options))


def _row(family: str, name: str) -> Mapping[str, Any] | None:
    """The table of a shipped preset, ``name`` being a data format or an editor."""
    rows: Mapping[str, Any] = _families().get(family, {}).get("presets", {})
    of_family: Mapping[str, Any] | None = rows.get(name)
    return of_family or _editors().get(name, {}).get("models", {}).get(family)


def _shipped(family: str, row: str) -> Preset:
    name = f"{family}/{row}"
    row_of_preset = _row(family, row)
    assert row_of_preset is not None
    return Preset(name=name, **check_row(row_of_preset, name))


@cache
def _families() -> dict[str, dict[str, Any]]:
    """The shipped files of UltraEdit by family name."""
    return _tables(files("ultraedit.models") / "presets")


@cache
def _editors() -> dict[str, dict[str, Any]]:
    """The shipped files of other editors by the editor's name."""
    return _tables(files("ultraedit.models") / "presets" / "editors")


def _tables(folder: Traversable) -> dict[str, dict[str, Any]]:
    paths = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in paths
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
    """What a family is recognized by."""
    return {
        "model_type": config.model_type,
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": intermediate_size(config),
    }


def _by_relative_depth(
    model: LanguageModel | PretrainedConfig, depth: tuple[float, ...] = DEPTH
) -> Preset:
    """MLP outputs at some depth, never the last layer, whose output no later layer reads.

    Where experts are packed, `OTHER_OUTPUTS`.
    """
    whole = model.model if isinstance(model, LanguageModel) else empty_model(model)
    groups = describe_modules(whole)
    kinds = {group.kind for group in groups}
    known = (*MLP_OUTPUTS, *OTHER_OUTPUTS, *RARE_OUTPUTS)
    kind = next((kind for kind in known if kind in kinds), None)
    if kind is None:
        raise ConfigError(
            "There is no preset for this model, and none of its layers is known to lead out of an "
            f"MLP or an attention (it has {', '.join(sorted(kinds))}). Choose with --modules."
        )
    numbers = sorted(layer for group in groups if group.kind == kind for layer in group.layers)
    layers = [numbers[place] for place in relative_depth(len(numbers), depth)]
    return Preset(
        name=RELATIVE_DEPTH,
        modules=(f"layers.[{format_numbers(layers)}].{kind}",),
        eta=None,
        ridge=1.0,
        source="relative depth",
    )


def relative_depth(count: int, depth: Sequence[float] = DEPTH) -> range:
    """Layers at a depth of a model with `count` layers.

    Args:
        count: Number of layers.
        depth: First and last, as fractions. Where they differ, it is two layers at least.
    """
    first, last = depth
    end = max(0, min(round(last * count), count - 2))
    start = max(0, min(round(first * count), end - (first < last)))
    return range(start, end + 1)


_KEYS = ("modules", "eta", "ridge", "protocol", "source", "options", "tuned")
_PROTOCOLS = ("paper", "official")


def check_row(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Turn a table of a preset file into the fields of a `Preset`.

    Args:
        row: The table.
        where: What to call it in an error message.

    Returns:
        All fields but the name, those left out at their defaults.

    Raises:
        ConfigError: If a key is unknown or a value is of the wrong kind.
    """
    for key in row:
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}. {did_you_mean(key, _KEYS)}")
    source, protocol = row.get("source", where), row.get("protocol")
    if not isinstance(source, str):
        raise ConfigError(f"{where}: source must be a text, got {source!r}.")
    if protocol is not None and protocol not in _PROTOCOLS:
        raise ConfigError(f'{where}: protocol must be "paper" or "official", got {protocol!r}.')
    options = row.get("options", {})
    if not isinstance(options, dict):
        raise ConfigError(
            f"{where}: options must be a table such as {{ lr = 5e-4 }}, got {options!r}."
        )
    tuned, eta = row.get("tuned", False), row.get("eta", "auto")
    if not isinstance(tuned, bool):
        raise ConfigError(f"{where}: tuned must be true or false, got {tuned!r}.")
    return {
        "modules": _modules(row.get("modules"), where),
        "eta": None if eta == "auto" else _positive("eta", eta, where),
        "ridge": _positive("ridge", row.get("ridge", 1.0), where),
        "protocol": protocol,
        "source": source,
        "options": options,
        "tuned": tuned,
    }


def _modules(value: Any, where: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(
            f"{where}: modules must be a pattern or a list of patterns such as "
            f'"layers.[27-28].mlp.down_proj", got {value!r}.'
        )
    patterns = tuple(pattern for text in texts for pattern in split_patterns(text))
    if not patterns:
        raise ConfigError(f"{where}: modules names no module. Write at least one pattern.")
    for pattern in patterns:
        parse_pattern(pattern)
    return patterns


def _positive(name: str, value: Any, where: str) -> float:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{where}: {name} must be a positive number, got {value!r}.")
    return float(value)

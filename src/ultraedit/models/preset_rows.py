"""Check one row of a preset file, so that a slip in a user's file gets a plain sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.models.patterns import parse_pattern, split_patterns

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

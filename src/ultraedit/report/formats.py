"""Numbers as people read them. What is missing, or is no number, is ``n/a``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

MISSING = "n/a"
"""What stands where there is no value."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def format_percent(fraction: float | None) -> str:
    """A fraction as a percentage, such as ``68.9%``."""
    return f"{100 * fraction:.1f}%" if _present(fraction) else MISSING


def format_change(before: float | None, after: float | None) -> str:
    """How far a fraction went, in percentage points with its sign, such as ``+52.6``."""
    if not (_present(before) and _present(after)):
        return MISSING
    points = round(100 * (after - before), 1)
    return f"{points:+.1f}" if points else "0.0"


def format_number(value: float | None) -> str:
    """A number to three significant digits, never in powers of ten unless it is tiny."""
    if not _present(value):
        return MISSING
    return f"{value:,.0f}" if round(abs(value)) >= 1000 else f"{value:.3g}"


def format_count(count: int, thing: str) -> str:
    """A number of things, such as ``1,000 edits`` or ``1 turn``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def format_seconds(seconds: float | None) -> str:
    """A wall time in the units that suit it, such as ``45 ms``, ``12.3 s`` or ``4 min 5 s``."""
    if not _present(seconds):
        return MISSING
    if round(seconds * 1000) < 1000:
        return f"{format_number(seconds * 1000)} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def format_bytes(count: float | None) -> str:
    """A size in memory in binary units, such as ``1.84 GiB``."""
    if not _present(count):
        return MISSING
    power = byte_power(count)
    return f"{format_number(count / 1024**power)} {_UNITS[power]}"


def byte_power(count: float) -> int:
    """The power of 1024 in which a size has one to four digits before the point."""
    power = 0
    while power < len(_UNITS) - 1 and round(count / 1024**power) >= 1000:
        power += 1
    return power


def byte_unit(power: int) -> str:
    """Name of a power of 1024."""
    return _UNITS[power]


def short_path(name: str) -> str:
    """A name without the folders before it, where a path would drown the sentence."""
    return name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]


def short_names(paths: Sequence[str]) -> list[str]:
    """Name each module by its layer and as few of its last words as tell all of them apart.

    Args:
        paths: Different module paths, such as ``model.layers.25.mlp.down_proj``.

    Returns:
        Names such as ``layer 25 down_proj``, in the same order.
    """
    split = [path.split(".") for path in paths]
    for words in range(1, max(map(len, split), default=1)):
        names = [f"{_layer(path)}{kind_of(path, words)}" for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def kind_of(path: str, words: int = 1) -> str:
    """The last words of a module path, such as ``down_proj``."""
    return ".".join(path.split(".")[-words:])


def _layer(path: str) -> str:
    number = next((word for word in path.split(".") if word.isdigit()), None)
    return "" if number is None else f"layer {number} "


def _present(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)

"""Short names for module paths, as a legend has room for."""

from __future__ import annotations

from collections.abc import Sequence


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

"""Weights that are elsewhere, as accelerate places them, and are fetched when they are used.

accelerate reads a weight whenever a forward pass comes to it. `held` keeps a block's weights for
as long as several batches pass through, so that each is read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ultraedit.core.errors import ConfigError


def is_offloaded(block: nn.Module) -> bool:
    """Whether any weight of a block is elsewhere, and is fetched for each forward pass."""
    return any(hook.offload for _, hook in _hooks(block))


@contextmanager
def held(block: nn.Module) -> Iterator[None]:
    """Fetch the weights of a block once, and let them go at the end.

    Args:
        block: Part of a model that accelerate has placed, or any other, which stays as it is.
    """
    fetched: list[tuple[nn.Module, Any]] = []
    try:
        for module, hook in _hooks(block):
            if hook.offload:
                hook.pre_forward(module)
                hook.offload = False
                fetched.append((module, hook))
        yield
    finally:
        for module, hook in fetched:
            hook.offload = True
            hook.post_forward(module, None)


def offloaded_weight(model: nn.Module, name: str) -> Tensor | None:
    """Read one weight of a model from where it is offloaded to.

    Args:
        model: The model.
        name: Name of a parameter on the meta device.

    Returns:
        The weight; None if it is nowhere.
    """
    path, _, leaf = name.rpartition(".")
    for _, hook in _hooks(model.get_submodule(path), within=False):
        if hook.offload and hook.weights_map is not None:
            weight: Tensor = hook.weights_map[leaf]
            return weight
    return None


def _hooks(root: nn.Module, *, within: bool = True) -> Iterator[tuple[nn.Module, Any]]:
    """The hooks of accelerate that place weights, with their modules."""
    for module in root.modules() if within else [root]:
        hook = getattr(module, "_hf_hook", None)
        for each in getattr(hook, "hooks", (hook,)):
            if hasattr(each, "offload"):
                yield module, each


def refuse_absent(modules: Mapping[str, nn.Module]) -> None:
    """Check that every edited weight is in memory.

    Raises:
        ConfigError: If one lies elsewhere, where it cannot be written to.
    """
    absent = [path for path, module in modules.items() if next(module.parameters()).is_meta]
    if absent:
        raise ConfigError(
            f"{absent[0]} is to be edited, but its weight did not fit into memory and stays on the "
            "disk. Load the model with less on each device, or choose modules in later layers."
        )

"""The nonlinearity of a model's MLPs, by the name that its config gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from ultraedit.core.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_NAMES = ("hidden_activation", "hidden_act", "activation_function")
"""What families call it, the one that counts first where a config has two."""


def activation_of(config: PretrainedConfig) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Find the nonlinearity of a model's MLPs.

    Args:
        config: Config of the language model proper.

    Returns:
        Its name in transformers, and the function.

    Raises:
        ConfigError: If the config names none.
    """
    for key in _NAMES:
        name = getattr(config, key, None)
        if isinstance(name, str):
            return name, activation_named(name)
    raise ConfigError(
        f"The config of this {config.model_type} does not say which nonlinearity its MLPs have "
        f"({', '.join(_NAMES)}), which WISE needs. Take another editor."
    )


def activation_named(name: str) -> Callable[[Tensor], Tensor]:
    """A nonlinearity by its name in transformers, such as ``silu``.

    Raises:
        ConfigError: If there is none of that name.
    """
    from transformers.activations import ACT2FN

    try:
        activation: Callable[[Tensor], Tensor] = ACT2FN[name]
    except KeyError:
        raise ConfigError(
            f"This version of transformers has no nonlinearity {name!r}. Install the version that "
            "the model was edited with."
        ) from None
    return activation

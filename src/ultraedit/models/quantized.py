"""Quantized checkpoints: which of them can be edited, and how an edited weight is stored in one.

A float8 checkpoint (``fp8``) and one with packed experts in 4 bits (``mxfp4``) are dequantized when
they are loaded. A weight of theirs that was edited is stored as it is, without a scale, and the
config names its module among those that are not quantized. Weights that stay packed in the model,
as those of GPTQ, AWQ and bitsandbytes do, cannot be edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import ConfigError
from ultraedit.models.language_model import text_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DEQUANTIZED = ("fp8", "mxfp4")
"""Methods whose weights become ordinary ones on loading."""

SKIPPED = ("modules_to_not_convert", "ignored_layers")
"""What configs call the list of modules that are not quantized; transformers prefers the first."""


def quantization(config: PretrainedConfig) -> str | None:
    """How the weights of a model are quantized, such as ``gptq``; None if they are not."""
    known = quantization_config(config)
    if known is None:
        return None
    method = known.get("quant_method") if isinstance(known, dict) else known.quant_method
    return str(getattr(method, "value", method))


def quantization_config(config: PretrainedConfig) -> Any:
    """What a config says of how its weights are quantized, as transformers looks for it."""
    places = (config, text_config(config))
    known = (getattr(place, "quantization_config", None) for place in places)
    return next((each for each in known if each is not None), None)


def quantized_fault(config: PretrainedConfig) -> str | None:
    """Why a model cannot be edited, or not be saved again, for how it is quantized; else None."""
    method = quantization(config)
    if method is None or method in DEQUANTIZED:
        return None
    return (
        f"its weights are quantized ({method}), and an edited one could not be stored among them. "
        "Give the model that it was made from, and quantize the edited one."
    )


def refuse_quantized(config: PretrainedConfig, name: str) -> None:
    """Check that a model has weights that can be edited and stored again.

    Args:
        config: Its config.
        name: What the user calls it.

    Raises:
        ConfigError: If its weights are packed in a way that is not unpacked.
    """
    fault = quantized_fault(config)
    if fault is not None:
        raise ConfigError(f"{name} cannot be edited: {fault}")


def dequantizing(config: PretrainedConfig) -> dict[str, Any]:
    """Options of `from_pretrained` that make ordinary weights of quantized ones, where it can."""
    import transformers

    method = quantization(config)
    if method not in DEQUANTIZED:
        return {}
    known = quantization_config(config)
    values = dict(known) if isinstance(known, Mapping) else known.to_dict()
    kind = {"fp8": "FineGrainedFP8Config", "mxfp4": "Mxfp4Config"}[method]
    # All of it, because transformers takes the list of unquantized modules from here too.
    made = getattr(transformers, kind).from_dict(values | {"dequantize": True})
    return {"quantization_config": made}


def leave_out_of_quantization(
    config: Mapping[str, Any], modules: Sequence[str], others: Sequence[str]
) -> dict[str, Any]:
    """Name modules in a config as not quantized.

    Args:
        config: What ``config.json`` holds.
        modules: Paths of the modules.
        others: Modules that were not quantized before. Where the config has no list, transformers
            guesses them, but with a list it takes the list alone.

    Returns:
        The new content of ``config.json``.
    """
    if config.get("quantization_config") is None:
        inner = leave_out_of_quantization(config["text_config"], modules, others)
        return {**config, "text_config": inner}
    known = dict(config["quantization_config"])
    key = next((key for key in SKIPPED if known.get(key) is not None), SKIPPED[0])
    listed = list(known.get(key) or others)
    known[key] = [*listed, *(module for module in modules if module not in listed)]
    return {**config, "quantization_config": known}

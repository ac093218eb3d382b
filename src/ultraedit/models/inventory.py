"""All weights of a model that hold facts, of what kind they are, and whether they can be edited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from ultraedit.models.modules import (
    decoder_path,
    is_linear,
    shape_of,
    shared_weights,
    why_not,
)
from ultraedit.models.patterns import format_numbers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FUSED: Mapping[str, str] = {
    "gate_up_proj": "gate and up",
    "qkv_proj": "query, key and value",
    "query_key_value": "query, key and value",
    "c_attn": "query, key and value",
    "Wqkv": "query, key and value",
    "W_pack": "query, key and value",
    "wqkv": "query, key and value",
}
"""What families call a matrix that is several in one, and what it is made of."""

PACKED = (
    "all experts are packed into one tensor, which is no layer: edit a shared expert or the "
    "attention output instead"
)


class ModulePlace(NamedTuple):
    """Weights that stand at the same place in several decoder layers, or outside of them."""

    pattern: str
    """What ``--modules`` would take."""

    d_in: int
    d_out: int

    type: str
    """Class name, such as ``Linear``."""

    traits: tuple[str, ...] = ()
    """What is special about it, such as ``fused: gate and up``."""

    obstacle: str | None = None
    """Why it cannot be edited; None if it can."""

    number: int = 1
    """How many of them there are."""


def inventory(model: PreTrainedModel) -> list[ModulePlace]:
    """List the linear layers and packed experts of a model, grouped by place and shape.

    Args:
        model: The model, with or without memory for its weights.

    Raises:
        ConfigError: If it has no list of decoder layers.
    """
    prefix = decoder_path(model)
    shared = shared_weights(model)
    groups: dict[tuple[str, ModulePlace], list[tuple[int, int | None]]] = {}
    for path, module in model.named_modules():
        for place in _places(path, module, shared):
            inside = path.startswith(f"{prefix}.")
            layer, kind, expert = _split(path.removeprefix(f"{prefix}."), inside)
            key = (kind, place)
            groups.setdefault(key, []).append((layer, expert))
    return [_named(kind, place, numbers) for (kind, place), numbers in groups.items()]


def _split(path: str, inside: bool) -> tuple[int, str, int | None]:
    """Layer number, place inside the layer, and expert number; the place has {} for the latter."""
    if not inside:
        return -1, path, None
    layer, _, kind = path.partition(".")
    expert = re.search(r"(?<=experts\.)\d+", kind)
    if expert is None:
        return int(layer), kind, None
    return int(layer), f"{kind[: expert.start()]}{{}}{kind[expert.end() :]}", int(expert[0])


def _places(path: str, module: nn.Module, shared: Mapping[str, str]) -> Iterator[ModulePlace]:
    """What a module holds that a reader would call a weight matrix; nothing for most modules."""
    if is_linear(module):
        shape = shape_of(module)
        traits = tuple(_traits(path, module, shared))
        yield ModulePlace(
            "",
            shape.d_in,
            shape.d_out,
            type(module).__name__,
            traits,
            why_not(path, module, shared),
        )
        return
    for name, weight in module.named_parameters(recurse=False):
        if weight.ndim == 3:
            made = (f"fused: {FUSED[name]}",) if name in FUSED else ()
            traits = (f"packed: {weight.shape[0]} experts, {name}", *made)
            _, d_out, d_in = weight.shape
            yield ModulePlace("", d_in, d_out, type(module).__name__, traits, PACKED)


def _traits(path: str, module: nn.Module, shared: Mapping[str, str]) -> Iterator[str]:
    name = path.rpartition(".")[2]
    if name in FUSED:
        yield f"fused: {FUSED[name]}, edited as one"
    if type(module).__name__ == "Conv1D":
        yield "Conv1D: stored as inputs x outputs"
    if path in shared:
        yield f"tied to {shared[path]}"
    if re.search(r"\bexperts\.\d+\.", path):
        yield "expert: sees only the tokens that are sent to it"
    elif "shared_expert" in path and name != "shared_expert_gate":
        yield "shared expert: sees every token"
    if "quantized" in (why_not(path, module, shared) or ""):
        yield "quantised"


def _named(kind: str, place: ModulePlace, numbers: list[tuple[int, int | None]]) -> ModulePlace:
    experts = sorted({expert for _, expert in numbers if expert is not None})
    if experts:
        kind = kind.format(f"[{format_numbers(experts)}]")
    layers = sorted({layer for layer, _ in numbers if layer >= 0})
    pattern = f"layers.[{format_numbers(layers)}].{kind}" if layers else kind
    return place._replace(pattern=pattern, number=len(numbers))

"""The linear layers of a model: what there is, and which of them a pattern stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import ModuleShape
from ultraedit.models.language_model import text_config
from ultraedit.models.patterns import (
    Part,
    Pattern,
    format_numbers,
    matches,
    parse_pattern,
    split_patterns,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LAYER_LISTS = ("layers", "h")
"""What patterns may call the list of decoder layers, whatever the model calls it."""

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class ModuleGroup(NamedTuple):
    """Linear layers that stand at the same place in several decoder layers."""

    kind: str
    """Path inside the decoder layer, such as ``mlp.down_proj``."""

    layers: tuple[int, ...]
    """Numbers of the decoder layers that have it, from 0."""

    d_in: int
    d_out: int

    type: str
    """Class name: ``Linear`` or ``Conv1D``."""


def find_modules(
    model: PreTrainedModel, patterns: str | Sequence[str], *, name: str = "MODEL"
) -> dict[str, nn.Module]:
    """Find the linear layers that patterns stand for.

    A pattern stands for every module whose path is the pattern, or ends in it after a dot. One
    that begins with ``layers``, ``h`` or a layer number starts at the list of decoder layers,
    whatever its place in the model: ``[18-26].mlp.fc_out`` works as the paper writes it. Where
    layers inside the language model and outside it match, those inside are meant.

    Args:
        model: The model.
        patterns: Patterns, each of which may hold several, separated by commas.
        name: What the user calls the model, for the next command in an error message.

    Returns:
        The modules by path, in the order of the patterns and for each in that of the model.

    Raises:
        ConfigError: If a pattern is malformed, matches nothing or only some of its layers, or
            matches what cannot be edited.
    """
    texts = [patterns] if isinstance(patterns, str) else patterns
    split = [pattern for text in texts for pattern in split_patterns(text)]
    if not split:
        raise ConfigError(
            "No edit modules were given. Write a pattern such as [27-28].mlp.up_proj."
        )
    shared = shared_weights(model)
    layers: dict[str, nn.Module] = {}
    for text in split:
        for path, module in _find(model, text, name):
            reason = why_not(path, module, shared)
            if reason:
                raise ConfigError(f"{text!r} matches {path}, which cannot be edited: {reason}.")
            layers[path] = module
    return layers


def describe_modules(model: PreTrainedModel) -> list[ModuleGroup]:
    """List the linear layers inside the decoder layers, grouped by their place and shape."""
    prefix = decoder_path(model)
    depth = len(prefix.split("."))
    groups: dict[tuple[str, int, int, str], list[int]] = {}
    for path, module in model.named_modules():
        parts = path.split(".")
        if not path.startswith(f"{prefix}.") or not is_linear(module):
            continue
        d_in, d_out = shape_of(module)
        key = (".".join(parts[depth + 1 :]), d_in, d_out, type(module).__name__)
        groups.setdefault(key, []).append(int(parts[depth]))
    return [
        ModuleGroup(kind, tuple(layers), d_in, d_out, type_)
        for (kind, d_in, d_out, type_), layers in groups.items()
    ]


def shape_of(module: nn.Module) -> ModuleShape:
    """Sizes of a linear layer. Conv1D stores its weight as (d_in, d_out), Linear transposed."""
    if isinstance(module, nn.Linear):
        return ModuleShape(module.in_features, module.out_features)
    return ModuleShape(int(module.nx), int(module.nf))  # type: ignore[arg-type]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is of a kind that can be edited, its weight aside."""
    return isinstance(module, _linear_types())


def _linear_types() -> tuple[type[nn.Module], ...]:
    from transformers.pytorch_utils import Conv1D

    return (nn.Linear, Conv1D)


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The list of decoder layers, in the order in which they run.

    Raises:
        ConfigError: If the model has no such list.
    """
    blocks = model.get_submodule(decoder_path(model))
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def decoder_path(model: PreTrainedModel) -> str:
    """Path of the list of decoder layers, such as ``model.layers`` or ``transformer.h``.

    Raises:
        ConfigError: If the model has no such list.
    """
    count = text_config(model.config).num_hidden_layers
    inside = {id(module) for module in model.get_decoder().modules()}
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and id(module) in inside:
            return str(path)
    raise ConfigError(f"A {type(model).__name__} has no list of {count} decoder layers to edit.")


def _find(model: PreTrainedModel, text: str, name: str) -> list[tuple[str, nn.Module]]:
    """Modules that one pattern stands for, with every layer that it names among them."""
    prefix = decoder_path(model)
    pattern = _anchor(parse_pattern(text), prefix)
    candidates = []
    for path, module in model.named_modules():
        parts = path.split(".")
        if path == text:
            return [(path, module)]
        if matches(pattern, parts[-len(pattern) :]):
            candidates.append((path, module))
    candidates = [item for item in candidates if item[0].startswith(f"{prefix}.")] or candidates
    if "*" in text:
        candidates = [item for item in candidates if is_linear(item[1])] or candidates
    _check_complete(model, text, pattern, [path for path, _ in candidates], name)
    return candidates


def _anchor(pattern: Pattern, prefix: str) -> Pattern:
    """Put the path of the decoder layers before a pattern that begins at them."""
    start = 0 if pattern[0].numbers else 1
    is_list = pattern[0].text in (*_LAYER_LISTS, prefix.rpartition(".")[2])
    if start == 0 or (
        is_list and len(pattern) > 1 and (pattern[1].numbers or "*" in pattern[1].text)
    ):
        return parse_pattern(prefix) + pattern[start:]
    return pattern


def _check_complete(
    model: PreTrainedModel, text: str, pattern: Sequence[Part], paths: list[str], name: str
) -> None:
    """Check that every number which the pattern names was found.

    Raises:
        ConfigError: If not, listing what the model has.
    """
    missing: set[int] = set()
    for place, part in enumerate(pattern, start=-len(pattern)):
        if part.numbers:
            missing |= part.numbers - {int(path.split(".")[place]) for path in paths}
    if paths and not missing:
        return
    where = f" at {format_numbers(missing)}" if paths else ""
    raise ConfigError(
        f"No module matches {text!r}{where}: the model has {_inventory(model)}. "
        f"Run `ultraedit models show {name}`."
    )


def _inventory(model: PreTrainedModel) -> str:
    """The editable layers in one line, such as ``layers 0-29, each with mlp.down_proj (...)``."""
    by_layers: dict[tuple[int, ...], list[str]] = {}
    for group in describe_modules(model):
        size = f"{group.kind} ({group.d_in} -> {group.d_out})"
        by_layers.setdefault(group.layers, []).append(size)
    return "; ".join(
        f"layers {format_numbers(layers)}, each with {', '.join(kinds)}"
        for layers, kinds in by_layers.items()
    )


def shared_weights(model: PreTrainedModel) -> dict[str, str]:
    """For each module whose weight another one uses too, as tied embeddings do: that other."""
    users: dict[int, list[str]] = {}
    for path, weight in model.named_parameters(remove_duplicate=False):
        users.setdefault(id(weight), []).append(path.rpartition(".")[0])
    return {
        path: next(other for other in paths if other != path)
        for paths in users.values()
        for path in paths
        if len(set(paths)) > 1
    }


def why_not(path: str, module: nn.Module, shared: Mapping[str, str]) -> str | None:
    """Why a module cannot be edited, or None if it can."""
    if not is_linear(module):
        return f"it is a {type(module).__name__}, not a linear layer"
    weight = module.weight
    if type(weight) is not nn.Parameter or weight.dtype not in _FLOATS:
        return f"its weight is quantized ({type(module).__name__}); load the model unquantized"
    if path in shared:
        return f"it shares its weight with {shared[path]}, which would change along with it"
    return None

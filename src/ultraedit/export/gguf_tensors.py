"""Where the weights of edited modules stand in a GGUF file, and in which order of their rows.

A tensor of the file holds the weight of a linear layer as (d_out, d_in), the transpose of a change;
of the architectures that llama.cpp gives interleaved rotary embeddings, the rows of the query and
key projections stand in another order, which is found by comparing with the unedited weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ultraedit.core.errors import ConfigError
from ultraedit.export.gguf_rounding import EXACT, Array, distance, tolerance
from ultraedit.models import find_modules
from ultraedit.models.gguf_file import GgufFile
from ultraedit.models.weights import weight_view

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel
    from ultraedit.models.delta import Delta


class Place(NamedTuple):
    """Where the weight of a module stands in a file."""

    module: str
    tensor: str

    rows: Array | None
    """Order of the rows in the file, as indices of the model's rows; None where it is the same."""

    @property
    def heads(self) -> int:
        """Number of attention heads whose rows are interleaved; 0 where the order is the same."""
        # The second row of the file is the first of the second half of the first head.
        return 0 if self.rows is None else len(self.rows) // (2 * int(self.rows[1]))

    def stored(self, weight: Array) -> Array:
        """A weight of shape (d_out, d_in) with its rows in the order of the file."""
        return weight if self.rows is None else weight[self.rows]


class Weight(NamedTuple):
    """The weight of an edited module, before and after. float32, shape (d_out, d_in)."""

    before: Array
    after: Array


class RunWeights(Mapping[str, Weight]):
    """The weights of the edited modules, each made when it is asked for."""

    def __init__(self, modules: Mapping[str, nn.Module], changes: Mapping[str, Tensor]) -> None:
        """Keep the modules, which have their unedited weights, and their changes."""
        self._modules, self._changes = modules, changes

    def __len__(self) -> int:
        """Number of modules."""
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        """Paths of the modules."""
        return iter(self._modules)

    @torch.no_grad()
    def __getitem__(self, path: str) -> Weight:
        """The weight of one module."""
        before = weight_view(self._modules[path])
        after = (before.float() + self._changes[path].to(before.device)).to(before.dtype)
        return Weight(*(_array(each) for each in (before, after)))


def run_weights(model: LanguageModel, delta: Delta) -> Mapping[str, Weight]:
    """The weights of the edited modules, before and after, as the run had them.

    In a model of 16 bits these are its rounded weights, and not the sums of float32. One at a time
    is in memory.
    """
    modules = find_modules(model.model, list(delta.changes), name=model.name)
    return RunWeights(modules, delta.changes)


def _array(weight: Tensor) -> Array:
    array: Array = weight.T.float().cpu().contiguous().clone().numpy()
    return array


def find_places(
    template: GgufFile, weights: Mapping[str, Weight], *, exact: bool
) -> tuple[Place, ...]:
    """Find the tensor of each module, and the order of its rows.

    Args:
        template: A GGUF file of the unedited model.
        weights: The modules.
        exact: Whether the weights were loaded from this very file.

    Raises:
        ConfigError: If the file lacks a module, or has another weight than the unedited one.
    """
    names = tensor_names(template)
    return tuple(
        _place(template, path, names(path), weights[path].before, exact=exact) for path in weights
    )


def tensor_names(template: GgufFile) -> Any:
    """From the path of a module to the name of its tensor, or None."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}.get(template.architecture)
    if arch is None:
        raise ConfigError(
            f"{template.path} holds a model of the architecture {template.architecture!r}, which "
            "the package gguf does not know. Run `pip install --upgrade gguf`."
        )
    known = get_tensor_name_map(arch, int(template.of_architecture("block_count") or 0))

    def name(path: str) -> str | None:
        # Of a multimodal model the file holds the language model alone.
        for inner in (path, path.replace("language_model.", "")):
            if (known_name := known.get_name(inner)) is not None:
                return f"{known_name}.weight"
        return None

    return name


def _place(
    template: GgufFile, path: str, tensor: str | None, before: Array, *, exact: bool
) -> Place:
    """The tensor of one module."""
    if tensor is None or tensor not in template.tensors:
        raise ConfigError(
            f"{template.path} has no tensor for the edited module {path}"
            f"{'' if tensor is None else f', which would be {tensor}'}: it is of another model, or "
            "keeps that module together with others. Give another --base, or export --as model "
            "and convert the folder."
        )
    stored = template.weight(tensor)
    if stored.shape != before.shape:
        raise ConfigError(
            f"{template.path} has {tensor} in the shape {stored.shape}, the run's base model has "
            f"{before.shape}. Give the GGUF file of that model as --base."
        )
    kind = template.tensors[tensor].kind
    limit = EXACT if exact else tolerance(kind)
    distances = [
        (distance(stored, before if rows is None else before[rows]), index, rows)
        for index, rows in enumerate(orders(template, len(before)))
    ]
    apart, _, rows = min(distances, key=lambda each: each[:2])
    if not apart <= limit:
        raise ConfigError(
            f"{template.path} does not hold the weights that the run edited: {tensor} is "
            f"{apart:.2g} of its norm from {path} of the unedited model, and rounding to "
            f"{kind.name} makes at most {limit:g}. Give the GGUF file of that very model as --base."
        )
    return Place(path, tensor, rows)


def orders(template: GgufFile, d_out: int) -> list[Array | None]:
    """Orders that the rows of a tensor may have.

    llama.cpp rotates neighboring pairs of a head's dimensions where transformers rotates its two
    halves, so in files of the Llama family the rows of one head are interleaved.
    """
    orders: list[Array | None] = [None]
    for key in ("attention.head_count", "attention.head_count_kv"):
        heads = template.of_architecture(key)
        if isinstance(heads, int) and heads and d_out % (2 * heads) == 0:
            orders.append(interleaved(heads, d_out))
    return orders


def interleaved(heads: int, d_out: int) -> Array:
    """Order of rows in which the two halves of each head alternate, as indices of the model's."""
    rows = np.arange(d_out).reshape(heads, 2, d_out // heads // 2)
    return rows.swapaxes(1, 2).reshape(-1)

"""Adapter files of llama.cpp: written from the factors of a run's change, and read back as one.

A file holds ``NAME.lora_a`` of shape (r, d_in) and ``NAME.lora_b`` of shape (d_out, r) for each
tensor of the base model's GGUF file, whose rows may stand in another order than the model's. The
entry ``ultraedit.modules`` of its metadata says which module each is, and how its rows stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ultraedit.core.errors import DataError, StorageError
from ultraedit.core.files import sha256, staged
from ultraedit.core.types import LowRank
from ultraedit.export.gguf_tensors import find_places, interleaved, run_weights
from ultraedit.models.delta import Delta, about_of
from ultraedit.models.gguf_file import GgufFile, is_gguf, write_new

if TYPE_CHECKING:
    from ultraedit.export.peft_adapter import Compressed
    from ultraedit.models import LanguageModel

Array = np.ndarray[Any, Any]

_DOWN, _UP = ".lora_a", ".lora_b"
_PREFIX, _MODULES = "ultraedit.", "ultraedit.modules"


class AdapterTensors(NamedTuple):
    """The factors of an adapter as llama.cpp takes them."""

    tensors: Mapping[str, Array]
    """``NAME.lora_a`` of shape (r, d_in) and ``NAME.lora_b`` of shape (d_out, r). float32."""

    modules: Mapping[str, tuple[str, int]]
    """By tensor of the base file its module, and `gguf.Place.heads`."""


def adapter_tensors(
    template: GgufFile,
    model: LanguageModel,
    delta: Delta,
    modules: Mapping[str, Compressed],
    *,
    exact: bool,
) -> AdapterTensors:
    """Find the tensors of the modules, and put the rows of the factors in the order of the file.

    Args:
        template: A GGUF file of the unedited model.
        model: The unedited model.
        delta: The change of the run.
        modules: Per module path its factors.
        exact: Whether the model was loaded from this very file.

    Raises:
        ConfigError: If the file lacks a module, or holds another model.
    """
    nothing = {path: torch.zeros(1) for path in modules}
    # Adding zero keeps the weights as they are: only their places are asked for.
    about = replace(delta, changes=nothing)
    tensors, places = {}, {}
    for place in find_places(template, run_weights(model, about), exact=exact):
        factors = modules[place.module].factors
        down, up = factors.left.T, factors.right.T
        tensors[f"{place.tensor}{_DOWN}"] = down.float().cpu().contiguous().numpy()
        tensors[f"{place.tensor}{_UP}"] = place.stored(up.float().cpu().contiguous().numpy())
        places[place.tensor] = place.module, place.heads
    return AdapterTensors(tensors, places)


def write_gguf_adapter(
    out: Path, template: GgufFile, delta: Delta, adapter: AdapterTensors
) -> None:
    """Write an adapter file of llama.cpp, and read it back.

    Its alpha is 0, which means a scale of 1 whatever the ranks: with any other one llama.cpp
    divides each module's by its own rank.

    Raises:
        StorageError: If it cannot be written, or does not read back as it should.
    """
    about = delta.about | {"base_sha256": sha256(template.path)}
    metadata: dict[str, Any] = {
        "general.type": "adapter",
        "general.architecture": template.architecture,
        "adapter.type": "lora",
        "adapter.lora.alpha": 0.0,
        **{f"{_PREFIX}{name}": value for name, value in about.items()},
        _MODULES: json.dumps(adapter.modules),
    }
    with staged(out) as stage:
        write_new(stage, metadata, adapter.tensors)
        written = GgufFile(stage)
        for name, tensor in adapter.tensors.items():
            if not np.array_equal(written.weight(name), tensor):
                raise StorageError(
                    f"{name} does not read back as it was written. The disk or the memory may be "
                    "at fault: try again."
                )


def load_gguf_adapter(path: Path) -> Delta | None:
    """Read an adapter file that this package wrote as the change that it adds.

    Returns:
        The change; None of what is no adapter file of llama.cpp.

    Raises:
        DataError: If it is another program's, whose scale and modules are not known.
        StorageError: If it is damaged.
    """
    if not is_gguf(path):
        return None
    file = GgufFile(path)
    if not file.is_adapter:
        return None
    header = {
        key.removeprefix(_PREFIX): str(file.value(key))
        for key in file.keys
        if key.startswith(_PREFIX)
    }
    if file.value(_MODULES) is None:
        raise DataError(
            f"The adapter {path} does not say which modules it changes: it was not exported by "
            "ultraedit, or by an older version of it. Export it again with `ultraedit export DIR "
            "--as lora --format gguf`."
        )
    changes = {}
    for tensor, (module, heads) in json.loads(file.value(_MODULES)).items():
        down, up = (torch.from_numpy(file.weight(f"{tensor}{end}").copy()) for end in (_DOWN, _UP))
        if heads:
            up = up[torch.from_numpy(np.argsort(interleaved(heads, len(up))))]
        changes[module] = LowRank(down.T, up.T).dense()
    return Delta(changes=changes, source=str(path), **about_of(header, str(path)))

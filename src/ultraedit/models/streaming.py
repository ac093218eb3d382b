"""Models that do not fit: the layers below the edited ones stay in their file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from ultraedit.core.errors import ConfigError
from ultraedit.models.hardware import choose_device
from ultraedit.models.language_model import LanguageModel, empty_model
from ultraedit.models.loading import load, load_config
from ultraedit.models.modules import decoder_blocks, decoder_path, find_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_streamed(
    name: str, patterns: Sequence[str], *, dtype: str = "auto", device: str = "auto"
) -> LanguageModel:
    """Load a model but for the layers below those that will be edited.

    These are read from the file as they are needed and dropped again, so the memory that it
    takes is that of the layers above, the embeddings, and one layer more. A `ModelHost` of it has
    a trunk from the start, which passes many prompts through a layer each time that it is read.

    Args:
        name: What `load` would load.
        patterns: Modules that will be edited, as in `find_modules`.
        dtype: As in `load`. Where it is not that of the file, layers are cast as they are read.
        device: As in `load`.

    Returns:
        The model. It computes, saves and generates as any other, but a forward pass of the whole
        of it reads all of its file.

    Raises:
        ConfigError: If the model cannot be loaded, a pattern matches nothing, or an edited module
            is in the first layer or outside all.
    """
    where = choose_device(device)
    model = empty_model(load_config(name))
    lowest = lowest_layer(model, list(find_modules(model, patterns, name=name)))
    target: str | int = "cpu" if where.type == "cpu" else str(where)
    return load(
        name, dtype=dtype, device_map=_placement(model, decoder_path(model), lowest, target)
    )


def lowest_layer(model: PreTrainedModel, paths: Sequence[str]) -> int:
    """Number of the lowest decoder layer with an edited module, below which layers are streamed.

    Args:
        model: The model, with or without weights.
        paths: The edited modules.

    Raises:
        ConfigError: If an edited module is in the first layer or outside all.
    """
    prefix = decoder_path(model)
    layers = [_layer(path, prefix) for path in paths]
    lowest = min((layer for layer in layers if layer is not None), default=0)
    if lowest == 0 or None in layers:
        raise ConfigError(
            f"There is no layer below {paths[0]} to stream. Load the model as it is, or choose "
            "modules in later layers."
        )
    return lowest


def stays_in_file(model: PreTrainedModel, lowest: int) -> list[nn.Module]:
    """The layers that `load_streamed` leaves in the file: those below the lowest edited one."""
    return list(decoder_blocks(model))[:lowest]


def _layer(path: str, prefix: str) -> int | None:
    """Number of the decoder layer that a module is in; None for one outside all."""
    if not path.startswith(f"{prefix}."):
        return None
    return int(path.removeprefix(f"{prefix}.").partition(".")[0])


def _placement(
    model: nn.Module, prefix: str, lowest: int, target: str | int
) -> dict[str, str | int]:
    """Where each part goes: layers below the lowest to the disk, all else to the device."""
    placed: dict[str, str | int] = {}

    def place(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            inside = f"{path}.{name}" if path else name
            if inside == prefix:
                placed.update(
                    (f"{prefix}.{number}", "disk" if number < lowest else target)
                    for number, _ in enumerate(child.children())
                )
            elif prefix.startswith(f"{inside}."):
                place(child, inside)
            else:
                placed[inside] = target

    place(model, "")
    return placed

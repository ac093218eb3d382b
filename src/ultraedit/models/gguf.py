"""GGUF files, unpacked once into an ordinary model folder that later loads read in seconds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import sha256, staged, write_text
from ultraedit.models.cache import cache_dir
from ultraedit.models.gguf_file import refuse_adapter
from ultraedit.models.transformers_output import quiet
from ultraedit.models.transformers_reader import readable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger("ultraedit")


def unpacked(path: Path) -> tuple[Path, str]:
    """Give the float32 model folder of a GGUF file, making it in the cache at the first call.

    The folder is named by the hash of the file, and appears whole or not at all, so two
    processes that convert the same file at once do no harm.

    Args:
        path: The GGUF file.

    Returns:
        The folder, and the SHA-256 of the file in hexadecimal.

    Raises:
        ConfigError: If it is not a GGUF file, or not one of a model that transformers knows.
        StorageError: If the cache cannot be written.
    """
    refuse_adapter(path)
    digest = _sha256(path)
    folder = cache_dir() / "models" / digest
    if not folder.is_dir():
        _log.info("Converting %s once, which takes about a minute; kept in %s.", path.name, folder)
        _convert(path, folder)
    complete_config(folder / "config.json")
    return folder, digest


def _convert(path: Path, folder: Path) -> None:
    import transformers

    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    # Newer versions of transformers leave the weights packed where a kernel for that is installed.
    packing = getattr(transformers, "GgufConfig", None)
    unpack = {"quantization_config": packing(dequantize=True)} if packing else {}
    with readable(str(path), "a GGUF file of a causal language model"), quiet(), _no_bar():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, dtype=torch.float32, **options, **unpack
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **options)
    forget_quantization(model)
    with staged(folder, replace=False) as stage, quiet():
        model.save_pretrained(stage)
        tokenizer.save_pretrained(stage)


def complete_config(path: Path) -> None:
    """Say the base of the rotary embedding in the words of transformers 4 too, in place.

    transformers 5 writes ``rope_parameters`` alone. Version 4 does not know that key and takes the
    default base of the architecture, which turns the keys by wrong angles without a warning.

    Args:
        path: A ``config.json`` that transformers 5 wrote.

    Raises:
        StorageError: If it cannot be written.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    older = older_rope(config.get("rope_parameters") or {})
    missing = {name: value for name, value in older.items() if name not in config}
    if missing:
        write_text(path, json.dumps(config | missing, indent=2, sort_keys=True) + "\n")


def older_rope(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of transformers 4 for what ``rope_parameters`` says.

    Args:
        parameters: The settings, or those of each kind of layer by ``full_attention`` and
            ``sliding_attention``, as in Gemma 3.
    """
    sliding = parameters.get("sliding_attention") or {}
    whole = parameters.get("full_attention") or parameters
    older = {}
    if "rope_theta" in whole:
        older["rope_theta"] = whole["rope_theta"]
    if "rope_theta" in sliding:
        older["rope_local_base_freq"] = sliding["rope_theta"]
    if whole.get("rope_type", "default") != "default":
        older["rope_scaling"] = {k: v for k, v in whole.items() if k != "rope_theta"}
    if "partial_rotary_factor" in whole:
        older["partial_rotary_factor"] = whole["partial_rotary_factor"]
    return older


def forget_quantization(model: PreTrainedModel) -> None:
    """Drop the quantizer that a model from GGUF still carries, in place.

    Its weights are plain tensors, but as long as it counts as quantized it refuses to be saved.
    """
    for owner, names in (
        (model, ("hf_quantizer", "quantization_method")),
        (model.config, ("quantization_config",)),
    ):
        for name in names:
            if name in vars(owner):
                delattr(owner, name)
    model.is_quantized = False


def _sha256(path: Path) -> str:
    """Hash a file, after a look at its first bytes."""
    with path.open("rb") as handle:
        magic = handle.read(4)
    if magic != b"GGUF":
        raise ConfigError(
            f"{path} is not a GGUF file: it does not start with the letters GGUF. "
            "Download it again, or give a model folder or an alias."
        )
    return sha256(path)


@contextmanager
def _no_bar() -> Iterator[None]:
    """Take the progress bar from the GGUF reader, which does not ask transformers' settings."""
    from transformers import modeling_gguf_pytorch_utils as reader

    original: Callable[..., Any] = reader.tqdm
    reader.tqdm = lambda items, **_: items
    try:
        yield
    finally:
        reader.tqdm = original

"""Read a model and its tokenizer with transformers, and say plainly why when that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from ultraedit.errors import ConfigError
from ultraedit.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def read(
    source: str,
    *,
    dtype: torch.dtype,
    device: torch.device,
    device_map: str | Mapping[str, Any] | None,
    offline: bool,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a model in eval mode with every weight frozen, and its tokenizer.

    Args:
        source: A model folder or a Hugging Face id.
        dtype: Precision to cast the weights to.
        device: Where to put the weights.
        device_map: A rule of transformers for where to put them, in place of `device`.
        offline: Whether to look in the local cache alone.

    Raises:
        ConfigError: If it cannot be read, or lacks weights that the model needs.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Never run code that came with a model, and never unpickle one.
    options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
    # On a CPU there is nothing to place, and on a GPU the weights go there without a stop.
    placement = device_map or (None if device.type == "cpu" else {"": device})
    with readable(source, "a causal language model"), quiet():
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            device_map=placement,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ConfigError(
            f"{source} lacks {len(missing)} weights of a {type(model).__name__}, the first being "
            f"{missing[0]}. Give a complete model; adapters must be merged into one first."
        )
    model.requires_grad_(False)
    return model.eval(), tokenizer


def read_config(source: str, *, offline: bool) -> PretrainedConfig:
    """Read the config of a model alone.

    Args:
        source: A model folder or a Hugging Face id.
        offline: Whether to look in the local cache alone.

    Raises:
        ConfigError: If it cannot be read.
    """
    from transformers import AutoConfig

    with readable(source, "a model"), quiet():
        config: PretrainedConfig = AutoConfig.from_pretrained(
            source, local_files_only=offline, trust_remote_code=False
        )
    return config


def read_tokenizer(source: str, *, offline: bool) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a model alone.

    Args:
        source: A model folder or a Hugging Face id.
        offline: Whether to look in the local cache alone.

    Raises:
        ConfigError: If it cannot be read.
    """
    from transformers import AutoTokenizer

    with readable(source, "a model with a tokenizer"), quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, local_files_only=offline, trust_remote_code=False
        )
    return tokenizer


@contextmanager
def readable(source: str, kind: str) -> Iterator[None]:
    """Turn whatever transformers raises over bad files into one sentence.

    Args:
        source: What is being read.
        kind: What it should be, with its article.

    Raises:
        ConfigError: In place of the error, with its first line.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{source} does not fit into the memory of the device. Give --dtype bfloat16, or "
            "device_map='auto' to spread it over several."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{source} cannot be read as {kind}: {cause.rstrip('.')}.") from error

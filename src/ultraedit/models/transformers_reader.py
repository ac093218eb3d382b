"""Read a model and its tokenizer with transformers, and say plainly why when that fails."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from ultraedit.core.errors import ConfigError
from ultraedit.models.quantized import dequantizing
from ultraedit.models.transformers_output import quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PICKLES = "pytorch_model*.bin"
"""Names of the files with pickled weights that older uploads have."""


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
    unpack = dequantizing(read_config(source, offline=offline))
    _refuse_pickles(source)
    with readable(source, "a causal language model"), quiet():
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            device_map=placement,
            use_safetensors=True,
            output_loading_info=True,
            **options,
            **unpack,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ConfigError(
            f"{source} lacks {len(missing)} weights of a {type(model).__name__}, the first being "
            f"{missing[0]}. Give a complete model; adapters must be merged into one first."
        )
    model.requires_grad_(False)
    if unpack:
        _cast_leftovers(model, dtype)
    return model.eval(), tokenizer


def _cast_leftovers(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Cast what a float8 checkpoint does not quantize, which transformers leaves as it is stored.

    Weights that a model keeps in float32 stay so.
    """
    for weight in model.parameters():
        if weight.dtype in (torch.bfloat16, torch.float16) and not weight.is_meta:
            weight.data = weight.data.to(dtype)


def _refuse_pickles(source: str) -> None:
    """Check that a folder does not hold its weights as pickles alone.

    Raises:
        ConfigError: If it does, with the command that converts them.
    """
    folder = Path(source)
    pickles = sorted(folder.glob(PICKLES)) if folder.is_dir() else []
    if pickles and not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"{source} has its weights in {pickles[0].name}, a pickle, which can run code when it "
            "is read and so is not read here. If you trust its author, convert it with "
            f"`{_conversion(source)}` and give the new folder."
        )


def _conversion(source: str) -> str:
    """A command that writes a model with pickled weights as safetensors, in a new folder."""
    target = f"{source.rstrip('/')}-safetensors"
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer; "
        f"[kind.from_pretrained({source!r}).save_pretrained({target!r}) "
        "for kind in (AutoModelForCausalLM, AutoTokenizer)]"
    )
    # Readable where it can be: most paths have nothing that a shell would look at in quotes.
    plain = not set(code) & set('"$`\\!')
    return f'python -c "{code}"' if plain else shlex.join(["python", "-c", code])


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

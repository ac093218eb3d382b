"""A loaded model with its tokenizer, and what its config says in words that fit every family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from ultraedit.core.errors import DataError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from ultraedit.models.checkpoint import CheckpointFolder


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model that is ready to be edited: in eval mode, no weight trainable."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    name: str
    """What the user asked for."""

    source: str
    """Where it came from: a folder, a GGUF file or a Hugging Face id."""

    sha256: str | None = None
    """Hash of the GGUF file, where `source` is one."""

    checkpoint: CheckpointFolder | None = None
    """The files that it was loaded from, which a saved model is a change of. None for one that was
    made in memory."""

    @property
    def config(self) -> PretrainedConfig:
        """Config of the language model proper, also where an image model is wrapped around it."""
        return text_config(self.model.config)

    @property
    def context_length(self) -> int | None:
        """Longest text that the model takes, in tokens. None where the config does not say."""
        return getattr(self.config, "max_position_embeddings", None)

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the model has an embedding for."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    def require_known(self, rows: Iterable[Sequence[int]]) -> None:
        """Refuse token ids that the model has no embedding for.

        Args:
            rows: Token ids.

        Raises:
            DataError: If there is one, naming its token.
        """
        last = max((max(row) for row in rows if row), default=0)
        if last >= self.vocabulary:
            token = self.tokenizer.convert_ids_to_tokens(last)
            raise DataError(
                f"The tokenizer writes {token!r} as token {last:,}, but {self.name} has embeddings "
                f"for {self.vocabulary:,} tokens. The tokenizer is that of another model: put this "
                "model's own tokenizer files into its folder."
            )

    @property
    def family(self) -> str:
        """The config's ``model_type``, such as ``llama`` or ``gemma3_text``."""
        return cast(str, self.config.model_type)

    @property
    def layers(self) -> int:
        """Number of hidden layers."""
        return cast(int, self.config.num_hidden_layers)

    @property
    def device(self) -> torch.device:
        """Where token ids must be for the model to take them."""
        return cast(torch.device, self.model.get_input_embeddings().weight.device)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return cast(torch.dtype, self.model.dtype)


def text_config(config: PretrainedConfig) -> PretrainedConfig:
    """Find the language model's config inside that of a multimodal model."""
    return config.get_text_config(decoder=True)


def intermediate_size(config: PretrainedConfig) -> int:
    """Width of the MLP, the largest where layers differ in it, as those of Gemma-3n may.

    GPT-2 and GPT-J leave it out where it is four times the hidden size.
    """
    for name in ("intermediate_size", "n_inner"):
        width = getattr(config, name, None)
        if width is not None:
            return max(map(int, width)) if isinstance(width, (list, tuple)) else int(width)
    return 4 * int(config.hidden_size)


def empty_model(config: PretrainedConfig, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Build the model of a config without memory for its weights, in eval mode and frozen.

    Args:
        config: The config.
        dtype: Precision of the weights. None takes float32.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        # A copy, because transformers notes the dtype in the config that it is given.
        model: PreTrainedModel = AutoModelForCausalLM.from_config(deepcopy(config), dtype=dtype)
    model.requires_grad_(False)
    return model.eval()

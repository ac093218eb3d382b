"""The model as it stood after one turn, to be asked while the next turn is made.

A version is a module tree of its own that shares every tensor with the loaded model but the edited
weights. So an answer ends on the weights that it began with, whatever is published meanwhile, and
a version costs no more memory than these weights.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from torch import Tensor, nn

from ultraedit.models import LanguageModel
from ultraedit.models.chat import reply_end


@dataclass(frozen=True, eq=False)
class Version:
    """The model after a turn. Nothing of it ever changes."""

    turn: int
    """0 is the unedited model."""

    name: str
    """Tells it from every other version of every run: the `system_fingerprint` of its answers."""

    language_model: LanguageModel


def version_name(run: str, turn: int, digest: str | None) -> str:
    """Name a version, also where a turn was rolled back and its number given to another.

    Args:
        run: Id of the run.
        turn: The turn.
        digest: What the journal has of the turn; None for the unedited model.
    """
    return f"ue-{run}-t{turn}" + (f"-{digest[:8]}" if digest else "")


def run_id(fingerprint: str, started: str) -> str:
    """Name a run by what its journal says of its model and its beginning."""
    return hashlib.sha256(f"{fingerprint} {started}".encode()).hexdigest()[:8]


def first_version(
    language_model: LanguageModel, run: str, weights: Mapping[str, Tensor]
) -> Version:
    """Make the version of the unedited model, from which all others are made.

    Args:
        language_model: The loaded model, unedited. Its own settings for generation, such as a
            repetition penalty, are left out: a request says what it wants.
        run: Id of the run.
        weights: By module path a copy of each weight that edits will change.
    """
    from transformers import GenerationConfig

    model: Any = _twin(language_model.model, weights)
    model.generation_config = GenerationConfig(eos_token_id=_end_tokens(language_model))
    # A strided input has torch copy the head's weight once per row; see models/generation.py.
    model.get_output_embeddings().register_forward_pre_hook(_contiguous)
    # A fast tokenizer is not to be used by two threads at once.
    tokenizer = copy.deepcopy(language_model.tokenizer)
    own = replace(language_model, model=model, tokenizer=tokenizer)
    return Version(0, version_name(run, 0, None), own)


def next_version(first: Version, name: str, turn: int, weights: Mapping[str, Tensor]) -> Version:
    """Make the version of a turn.

    Args:
        first: The version of the unedited model.
        name: Its name.
        turn: The turn.
        weights: By module path a copy of each edited weight, as its layer stores it.
    """
    base = first.language_model
    return Version(turn, name, replace(base, model=_twin(base.model, weights)))


def _twin(model: Any, weights: Mapping[str, Tensor]) -> Any:
    """A copy of a module tree that shares all of its tensors but some weights."""
    tensors = chain(model.parameters(), model.buffers())
    shared: dict[int, Any] = {id(tensor): tensor for tensor in tensors}
    twin = copy.deepcopy(model, shared)
    for path, weight in weights.items():
        twin.get_submodule(path).weight = nn.Parameter(weight, requires_grad=False)
    return twin


def _end_tokens(language_model: LanguageModel) -> list[int]:
    """Tokens by which the model ends an answer: its own, the tokenizer's, and that of a reply."""
    model: Any = language_model.model
    own = model.generation_config.eos_token_id
    tokenizer = language_model.tokenizer
    ends = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id]
    if getattr(tokenizer, "chat_template", None):
        ends.append(reply_end(tokenizer))
    return sorted({int(end) for end in ends if end is not None})


def _contiguous(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].contiguous(), *args[1:])

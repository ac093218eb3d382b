"""Questions that a model cannot read whole, found by its tokenizer alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ultraedit import models
from ultraedit.core.encoding import encode
from ultraedit.core.errors import DataError
from ultraedit.evaluation.scoring import questions
from ultraedit.models.language_model import text_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.data.streams import EditSource

SPARE = 16
"""Tokens that a tokenizer may add to those of its texts."""


def check_lengths(model: str, config: PretrainedConfig, source: EditSource) -> None:
    """Refuse facts and questions that are longer than the model's context, before it is loaded.

    Args:
        model: Name of the model.
        config: Its config.
        source: The facts, and those of them that are scored.

    Raises:
        DataError: If one is too long, naming its row.
        ConfigError: If the tokenizer cannot be loaded.
    """
    longest = getattr(text_config(config), "max_position_embeddings", None)
    if longest is None:
        return
    tokenizer = None
    for place, prompt, target in _pairs(source):
        # A token takes a byte at least, so that few texts need to be tokenized.
        if len(prompt.encode()) + len(target.encode()) + SPARE <= longest:
            continue
        tokenizer = models.load_tokenizer(model) if tokenizer is None else tokenizer
        try:
            encode(tokenizer, [(prompt, target)], max_length=longest)
        except DataError as error:
            raise DataError(f"{place}: {error}") from error


def _pairs(source: EditSource) -> Iterator[tuple[str, str, str]]:
    """Every prompt with its target, and where it stands."""
    for row, edit in enumerate(source.after(), start=1):
        yield f"Row {row:,}", edit.prompt, edit.target
    for asked in questions(source.panel.edits, source.panel.newest)[0]:
        if asked.target is not None:
            yield f"Edit {asked.edit.id} ({asked.kind})", asked.prompt, asked.target

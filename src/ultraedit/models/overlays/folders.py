"""What a saved model has beside its weights: the memories of WISE, or the facts of in-context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ultraedit.models.overlays.fact_folder import has_facts, read_recall, write_recall
from ultraedit.models.overlays.facts import recall_of
from ultraedit.models.overlays.facts.reader import attach
from ultraedit.models.overlays.memory_folder import attach_memories, has_memories, write_memories
from ultraedit.models.overlays.routing import router_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ultraedit.models.language_model import LanguageModel


def has_beside(folder: Path) -> bool:
    """Whether a folder holds a model that is more than its weights, with these in ``base``."""
    return has_memories(folder) or has_facts(folder)


def attach_beside(lm: LanguageModel, folder: Path) -> None:
    """Put on a model what its folder has beside it.

    Raises:
        ConfigError: If the folder is of a newer version of this package, or of another model.
        StorageError: If a file of it is damaged.
    """
    if has_memories(folder):
        attach_memories(lm.model, folder)
    else:
        attach(lm.model, read_recall(lm, folder))


def is_more(model: PreTrainedModel) -> bool:
    """Whether a model is more than its weights."""
    return router_of(model) is not None or recall_of(model) is not None


def write_beside(model: PreTrainedModel, folder: Path) -> None:
    """Write what a model has beside its weights, and how it is loaded.

    Args:
        model: The model.
        folder: An existing folder.
    """
    router, recall = router_of(model), recall_of(model)
    if router is not None:
        write_memories(router, folder)
    if recall is not None:
        write_recall(recall, folder)

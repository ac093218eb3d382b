"""Overlays on a model, for a while or beside its weights for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Recalled, Routed
from ultraedit.models.activation import activation_of
from ultraedit.models.embedding import load_embedder
from ultraedit.models.overlays.facts import Recall, recall_of
from ultraedit.models.overlays.routing import RoutedWeight, Router, router_of
from ultraedit.models.weights import EditedWeights

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel


@contextmanager
def laid_over(
    language_model: LanguageModel, weights: EditedWeights, view: Routed | Recalled
) -> Iterator[None]:
    """Hold a model as a view has it, and exactly as it was afterwards.

    Args:
        language_model: The model.
        weights: Its edited weights.
        view: Memories that take the place of what was applied, or facts to read.
    """
    model = language_model.model
    if isinstance(view, Recalled):
        length = language_model.context_length
        embed = None if view.embedder is None else load_embedder(view.embedder)
        with Recall(view, language_model.tokenizer, length, embed).attached(model):
            yield
        return
    memories = [
        RoutedWeight(weights.with_change(view.path, memory.change), memory.threshold)
        for memory in view.memories
    ]
    name, function = activation_of(language_model.config)
    router = Router(view.path, memories, name, function, view.per)
    with weights.unedited(), router.attached(model):
        yield


def beside(language_model: LanguageModel) -> str | None:
    """What a model has beside its weights, in words; None where they are all there is."""
    if router_of(language_model.model) is not None:
        return "in memories beside its weights, as WISE leaves them"
    if recall_of(language_model.model) is not None:
        return "facts that it reads in front of questions, as the editor in-context leaves them"
    return None


def require_plain(language_model: LanguageModel) -> None:
    """Check that a model is its weights and nothing else.

    Raises:
        ConfigError: If it has something beside them.
    """
    overlay = beside(language_model)
    if overlay is not None:
        raise ConfigError(
            f"The edits of {language_model.name} are {overlay}, and other editors cannot add to "
            "them. Add facts to its run with `ultraedit edit FACTS --append RUN`, or edit the "
            "model in its folder `base`."
        )

"""What is attached to a model beside its weights, and what others need to know of it.

Whoever runs or identifies a model goes by the contract of `Overlay` alone: which overlays there
are (`models.overlays`), and what they do, they need not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from torch import Tensor, nn

_ATTRIBUTE = "ultraedit_overlays"
"""Where a model keeps its overlays, and whoever has the model finds them."""


class Overlay(ABC):
    """Base of what can be attached to a model."""

    @abstractmethod
    def identity(self) -> Iterator[bytes | Tensor]:
        """What tells it from any other, for the fingerprint of the model."""

    def deciding_by(self, prompts: Tensor) -> AbstractContextManager[None]:
        """Treat each sequence of a batch by its prompt, where that makes a difference.

        Args:
            prompts: Which tokens are the prompts'. bool, shape (rows, length).
        """
        return nullcontext()


def overlays_on(model: nn.Module) -> tuple[Overlay, ...]:
    """What is attached to a model, in the order in which it was."""
    overlays: tuple[Overlay, ...] = getattr(model, _ATTRIBUTE, ())
    return overlays


def attach(model: nn.Module, overlay: Overlay) -> None:
    """Attach an overlay to a model."""
    setattr(model, _ATTRIBUTE, (*overlays_on(model), overlay))


def detach(model: nn.Module, overlay: Overlay) -> None:
    """Take an overlay off a model."""
    rest = tuple(each for each in overlays_on(model) if each is not overlay)
    if rest:
        setattr(model, _ATTRIBUTE, rest)
    else:
        delattr(model, _ATTRIBUTE)


@contextmanager
def prompts_at(model: nn.Module, prompts: Tensor) -> Iterator[None]:
    """Run a model with its overlays knowing which tokens are prompts, and which are answers.

    Args:
        model: Any model.
        prompts: Which tokens are the prompts'. bool, shape (rows, length).
    """
    with ExitStack() as stack:
        for overlay in overlays_on(model):
            stack.enter_context(overlay.deciding_by(prompts))
        yield

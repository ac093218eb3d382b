"""Turns worked out before they are written: the state before the first one, and a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ultraedit.core.types import Edit, Editor, Host, Patch, State, Turn
from ultraedit.runs.store.random_state import random_state, restore_random_state


class Computed(NamedTuple):
    """A turn that a preview has worked out, so that writing it is not work again."""

    after: tuple[int, str | None]
    """The turn that it comes after, with its digest."""
    edits: tuple[Edit, ...]
    patch: Patch
    state: State
    random: bytes
    seconds: float

    def is_turn(self, after: tuple[int, str | None], edits: Sequence[Edit]) -> bool:
        """Whether it is the turn that writes these facts after that turn."""
        return self.after == after and _written(self.edits) == _written(edits)


class InitialOnce:
    """An editor whose state before the first turn is worked out once."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._initial: tuple[State, bytes] | None = None
        self.computed: Computed | None = None

    def init(self, host: Host) -> State:
        """The state before the first turn. The model must be unedited."""
        if self._initial is None:
            state = self._editor.init(host)
            self._initial = (state, random_state())
        state, after = self._initial
        restore_random_state(after)
        return {name: tensor.clone() for name, tensor in state.items()}

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Patch, State]:
        """One turn, which a preview may have worked out."""
        ready, self.computed = self.computed, None
        if ready is not None:
            restore_random_state(ready.random)
            return ready.patch, ready.state
        return self._editor.step(host, turn, state)


def _written(edits: Sequence[Edit]) -> list[tuple[object, ...]]:
    """What of facts decides what their turn writes."""
    return [(e.prompt, e.target, e.subject, e.also) for e in edits]

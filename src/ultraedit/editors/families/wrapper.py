"""What editors share that work on another editor's changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import (
    CheckingEditor,
    Edit,
    Editor,
    Host,
    Master,
    ModuleShape,
    Patch,
    RemarkingEditor,
    RememberingEditor,
    State,
    Turn,
)
from ultraedit.editors.registry import find_editor, make_editor

PREFIX = "base/"
"""What the names in the wrapped editor's state begin with."""


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """An editor that has another one make its changes."""

    base: str = "memit"
    """Name of the editor whose changes are taken."""

    base_options: Mapping[str, Any] = field(default_factory=dict)
    """That editor's own options. On the command line each is ``--set base.NAME=VALUE``."""

    def __post_init__(self) -> None:
        """Make the wrapped editor.

        Raises:
            ConfigError: If there is none of that name, it is a wrapper itself, its edits are not
                in weights, or an option is not one of its own.
        """
        row = find_editor(self.base)
        if row.wraps or row.beside:
            raise ConfigError(
                f"base must be an editor that itself changes weights, not {self.base}."
            )
        object.__setattr__(self, "_inner", make_editor(self.base, self.base_options))

    @property
    def inner(self) -> Editor:
        """The wrapped editor."""
        inner: Editor = self._inner  # type: ignore[attr-defined]
        return inner

    @property
    def master(self) -> Master:
        """What accumulates the changes: what the wrapped editor wants."""
        wanted: Master = getattr(self.inner, "master", "float32")
        return wanted

    def check(self, edits: Sequence[Edit]) -> None:
        """Refuse edits that the wrapped editor could not make.

        Raises:
            DataError: If there are any.
        """
        if isinstance(self.inner, CheckingEditor):
            self.inner.check(edits)

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """What the wrapped editor has to say."""
        if isinstance(self.inner, RemarkingEditor):
            return self.inner.remarks(host, _inner_state(state))
        return {}

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """What the wrapped editor keeps."""
        if isinstance(self.inner, RememberingEditor):
            return self.inner.extra_memory(shapes, edits, itemsize)
        return {}

    def init(self, host: Host) -> State:
        """The wrapped editor's state, each name after ``base/``."""
        return _outer_state(self.inner.init(host))

    def inner_step(self, host: Host, turn: Turn, state: State) -> tuple[Patch, State]:
        """The wrapped editor's turn, with its state named as in `init`."""
        patch, state = self.inner.step(host, turn, _inner_state(state))
        return patch, _outer_state(state)


def _outer_state(state: State) -> State:
    return {f"{PREFIX}{name}": tensor for name, tensor in state.items()}


def _inner_state(state: State) -> State:
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}

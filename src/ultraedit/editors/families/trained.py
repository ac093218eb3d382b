"""The net of an editor that is trained: none, one from a file, or one from memory.

An editor with an option ``net`` holds a `Learned` and asks it; what else the editor is, it says
itself. Whoever makes an editor opens the file that the option names (`registry.opened`).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch

from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net
from ultraedit.core.types import Host, State
from ultraedit.editors.registry import UNTRAINED

if TYPE_CHECKING:
    from ultraedit.editors.families.fit import Learning, Schedule

logger = logging.getLogger(__name__)

AGREED = ("variance", "statistics", "loss_average", "micro_batch")
"""Options that a run must share with the training of its net, of editors that have them."""

TrainingRows = Literal["rest", "matched"]
"""Rows that an editor is trained on, after its paper: all that are not edited, or as many."""

E = TypeVar("E")


@runtime_checkable
class TrainableEditor(Protocol):
    """An editor that `ultraedit train` makes a net for."""

    name: ClassVar[str]
    """The editor's name in the table of editors."""

    training_rows: ClassVar[TrainingRows]

    @property
    def learned(self) -> Learned:
        """Its net."""
        ...

    def with_net(self: E, net: Net, where: str | None = None) -> E:
        """The same editor with a net, from the file `where` or from memory."""
        ...

    def learner(self, host: Host, seed: int) -> Learning:
        """Begin a training: of a fresh net, or of the one that there is."""
        ...

    def schedule(self, wanted: Schedule) -> Schedule:
        """What the method itself decides of the course of a training."""
        ...


@dataclass(frozen=True)
class Learned:
    """The net that an editor holds."""

    editor: str
    """Name of the editor."""

    where: str
    """Where the net is from: its file, or `UNTRAINED`."""

    net: Net | None = None
    """None of an untrained editor."""

    def require_editor(self) -> None:
        """Check, as far as it goes without the model, that the net can be used.

        Raises:
            ConfigError: If it is another editor's.
        """
        about = {} if self.net is None else self.net.about
        if about and about["editor"] != self.editor:
            raise ConfigError(
                f"{self.where} was trained for the editor {about['editor']}, not for {self.editor}."
                f" Give --editor {about['editor']}, or another net."
            )

    def require_fit(self, host: Host, editor: Any) -> None:
        """Check that the net, where there is one, was trained for this model and these modules.

        Args:
            host: The model.
            editor: The editor that holds it, with its options.

        Raises:
            ConfigError: If it was not.
        """
        if self.net is not None:
            require_match(self.net, host, editor, self.where)

    def remarks(self) -> dict[str, str]:
        """Which net it is, for the record."""
        if self.net is None:
            return {"net": "none: the editor is untrained"}
        training = self.net.about.get("training", {})
        rows = f", trained on rows {training['rows']} of {training['data']}" if training else ""
        return {"net": f"{self.where}{rows}"}

    def begun(self, host: Host, editor: Any) -> State | None:
        """The state that the net was trained with; None, with a warning, for an untrained editor.

        Raises:
            ConfigError: If the net is not of this model, or a file that nobody has opened.
        """
        if self.net is None:
            if self.where != UNTRAINED:
                raise ConfigError(
                    f"The net {self.where} was not opened. Make the editor with "
                    f"`make_editor({self.editor!r}, ...)`."
                )
            logger.warning(
                "%s runs without a trained net. `ultraedit train %s` makes one, for --net.",
                self.editor,
                self.editor,
            )
            return None
        self.require_fit(host, editor)
        begun = {
            name.removeprefix("state/"): tensor.clone()
            for name, tensor in self.net.tensors.items()
            if name.startswith("state/")
        }
        return begun | {"net/digest": self.net.digest}

    def require_same(self, state: State) -> None:
        """Check that this is the net that the run began with.

        Raises:
            ConfigError: If it is another one.
        """
        begun = state.get("net/digest")
        now = None if self.net is None else self.net.digest
        if (begun is None) != (now is None) or (
            begun is not None and now is not None and not torch.equal(begun.cpu(), now)
        ):
            raise ConfigError(
                f"The run began with another net than {self.where} holds now. Put the file back, "
                "or start the run anew."
            )

    def bytes(self) -> dict[str, int]:
        """How large the net is, for `RememberingEditor.extra_memory`."""
        if self.net is None:
            return {}
        return {"net": sum(t.numel() * t.element_size() for t in self.net.tensors.values())}


def with_net(editor: E, net: Net, where: str | None = None) -> E:
    """The same editor with a net.

    Args:
        editor: A `TrainableEditor`.
        net: The net.
        where: Its file; None for one in memory.

    Raises:
        ConfigError: If it is another editor's.
    """
    held: Any = copy.copy(editor)
    if where is None:
        where = f"in memory, {bytes(net.digest.tolist()).hex()[:12]}"
    object.__setattr__(held, "net", where)
    held.__dict__["learned"] = Learned(held.name, where, net)
    held.learned.require_editor()
    other: E = held
    return other


def about_net(editor: Any, host: Host, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a net says of itself, to be compared by `require_match`."""
    return {
        "editor": editor.name,
        "model": model,
        "fingerprint": host.fingerprint(),
        "modules": {path: list(shape) for path, shape in host.modules.items()},
        "options": dict(options),
    }


def require_match(net: Net, host: Host, editor: Any, where: str) -> None:
    """Check that a net was trained for this model, these modules and these options.

    Raises:
        ConfigError: If it was not.
    """
    about = net.about
    again = f"Train one for it: `ultraedit train {editor.name}`, or take the net's own."
    if about["fingerprint"] != (fingerprint := host.fingerprint()):
        raise ConfigError(
            f"The net {where} was trained for the model {about['model']}, whose weights are "
            f"{about['fingerprint'][:19]}; this model's are {fingerprint[:19]}. {again}"
        )
    ours = {path: list(shape) for path, shape in host.modules.items()}
    if about["modules"] != ours:
        raise ConfigError(
            f"The net {where} was trained for the modules {', '.join(about['modules'])}; the run "
            f"edits {', '.join(ours)}. {again}"
        )
    for name in AGREED:
        value = about["options"].get(name)
        if value != getattr(editor, name, None):
            raise ConfigError(
                f"The net {where} was trained with {name}={value}, but the run has "
                f"{name}={getattr(editor, name)}. Give --set {name}={value}, or train another."
            )

"""Editors that can bring a net along: where it comes from, and that it is of this model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch

from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net, read_about, read_net
from ultraedit.core.types import Additive, Host, State, Turn
from ultraedit.editors.families.normalized import Normalised

if TYPE_CHECKING:
    from ultraedit.editors.families.fit import Learning, Schedule

logger = logging.getLogger(__name__)

UNTRAINED = "untrained"
"""Value of the option ``net`` without a net."""

AGREED = ("variance", "statistics", "loss_average", "micro_batch")
"""Options that a run must share with the training of its net."""

Self = TypeVar("Self", bound="Trained")


class Trained(Normalised):
    """Base of the editors with an option ``net``, a file from ``ultraedit train``."""

    name: ClassVar[str]
    """The editor's name in the table of editors."""

    training_rows: ClassVar[Literal["rest", "matched"]] = "rest"
    """Rows that it is trained on, after the paper: all that are not edited, or as many as are."""

    net: str

    def learner(self, host: Host, seed: int) -> Learning:
        """Begin a training: of a fresh net, or of the one that there is."""
        raise TypeError(f"{self.name} cannot be trained.")

    def schedule(self, wanted: Schedule) -> Schedule:
        """What the method itself decides of the course of a training."""
        return wanted

    @cached_property
    def trained(self) -> Net | None:
        """The net, read when it is first needed; None for an untrained editor."""
        return None if self.net == UNTRAINED else read_net(self.net)

    def with_net(self: Self, net: Net) -> Self:
        """The same editor with a net from memory."""
        editor = replace(self, net=UNTRAINED)  # type: ignore[type-var]
        object.__setattr__(editor, "net", f"in memory, {bytes(net.digest.tolist()).hex()[:12]}")
        editor.__dict__["trained"] = net
        return editor

    def require_net(self) -> None:
        """Check, as far as it goes without the model, that the net can be used.

        Raises:
            ConfigError: If there is no such file, or it is another editor's.
        """
        if self.net == UNTRAINED:
            return
        about = read_about(self.net)
        if about["editor"] != self.name:
            raise ConfigError(
                f"{self.net} was trained for the editor {about['editor']}, not for {self.name}. "
                f"Give --editor {about['editor']}, or another net."
            )

    def require_fit(self, host: Host) -> None:
        """Check that the net, where there is one, was trained for this model and these modules.

        Raises:
            ConfigError: If it was not.
        """
        if self.trained is not None:
            require_match(self.trained, host, self, self.net)

    def remarks(self, host: Host, state: State) -> dict[str, str]:
        """Which net it is, for the record."""
        if self.trained is None:
            return {"net": "none: the editor is untrained"}
        training = self.trained.about.get("training", {})
        rows = f", trained on rows {training['rows']} of {training['data']}" if training else ""
        return {"net": f"{self.net}{rows}"}

    def init(self, host: Host) -> State:
        """Empty statistics, or those that the net was trained with."""
        if self.trained is None:
            logger.warning(
                "%s runs without a trained net. `ultraedit train %s` makes one, for --net.",
                self.name,
                self.name,
            )
            return super().init(host)
        self.require_fit(host)
        begun = {
            name.removeprefix("state/"): tensor.clone()
            for name, tensor in self.trained.tensors.items()
            if name.startswith("state/")
        }
        return begun | {"net/digest": self.trained.digest}

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Do a turn, with the net that the run began with.

        Raises:
            ConfigError: If it is another one.
        """
        begun = state.get("net/digest")
        now = None if self.trained is None else self.trained.digest
        if (begun is None) != (now is None) or (
            begun is not None and now is not None and not torch.equal(begun.cpu(), now)
        ):
            raise ConfigError(
                f"The run began with another net than {self.net} holds now. Put the file back, "
                "or start the run anew."
            )
        return super().step(host, turn, state)


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
    if about["fingerprint"] != (found := host.fingerprint()):
        raise ConfigError(
            f"The net {where} was trained for the model {about['model']}, whose weights are "
            f"{about['fingerprint'][:19]}; this model's are {found[:19]}. {again}"
        )
    ours = {path: list(shape) for path, shape in host.modules.items()}
    if about["modules"] != ours:
        raise ConfigError(
            f"The net {where} was trained for the modules {', '.join(about['modules'])}; the run "
            f"edits {', '.join(ours)}. {again}"
        )
    for name in AGREED:
        value = about["options"].get(name)
        if value != getattr(editor, name):
            raise ConfigError(
                f"The net {where} was trained with {name}={value}, but the run has "
                f"{name}={getattr(editor, name)}. Give --set {name}={value}, or train another."
            )

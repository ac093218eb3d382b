"""One edit that is made, judged and taken back: the shortest proof that a model can be edited."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ultraedit.core.errors import ConfigError, UltraEditError
from ultraedit.core.types import Additive, Edit, LossTerm, Turn
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.host.host import ModelHost
from ultraedit.models import find_modules

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

FACT = Edit(
    "The name of the lighthouse keeper on the island of Vorholm is", "Ottilie Brandvane Skarsgard"
)
"""A fact that no model knows, of enough tokens for statistics of its own."""


@dataclass(frozen=True)
class Smoke:
    """The result of one edit."""

    fault: str | None
    """Why the model cannot be edited; None if it can."""

    loss_before: float | None = None
    """Of the fact, in nats per token."""

    loss_after: float | None = None

    seconds: float = 0.0
    """Of the whole test."""

    trunk: bool = False
    """Whether what lies below the edited layers can be computed once."""


def smoke_test(model: LanguageModel, modules: Sequence[str]) -> Smoke:
    """Write one fact into a model and take it back.

    Args:
        model: The model. Its weights are bit for bit what they were when this returns.
        modules: Patterns of the modules to edit.
    """
    begun = time.perf_counter()
    try:
        fault = logits_fault(model) or modules_fault(model, modules)
        return Smoke(fault) if fault is not None else _edit(model, modules, begun)
    except UltraEditError as error:
        return Smoke(str(error))


def _edit(model: LanguageModel, modules: Sequence[str], begun: float) -> Smoke:
    host = ModelHost(model, modules)
    editor = UltraEdit(eta="auto", expected_edits=1)
    turn = Turn(1, (FACT,))
    silent = _silent(host)
    if silent is not None:
        return Smoke(silent)
    patch, _ = editor.step(host, turn, editor.init(host))
    term = LossTerm(((FACT.prompt, FACT.target),), 1.0, "answer", micro_batch=1)
    before = host.patch_loss(Additive({}), [term])[0].loss
    after = host.patch_loss(patch, [term])[0].loss
    host.use_trunk()
    trunk = host.trunk is not None and host.trunk.works_for(
        host.encode([(FACT.prompt, FACT.target)])
    )
    host.drop_trunk()
    fault = None
    if not (math.isfinite(after) and after < before):
        fault = f"the loss of a fact did not fall by writing it: {before:.2f} to {after:.2f}"
    return Smoke(fault, before, after, time.perf_counter() - begun, trunk)


def logits_fault(model: LanguageModel) -> str | None:
    """Why the answers of a model cannot be used; None if they can."""
    ids = model.tokenizer("One two three", return_tensors="pt")["input_ids"]
    try:
        with torch.no_grad():
            logits = model.model(ids.to(model.device)).logits
    except (RuntimeError, ValueError, IndexError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        return f"it cannot be run, also unedited: {cause.rstrip('.')}. Does its config fit it?"
    if bool(torch.isfinite(logits).all()):
        return None
    return "some logits are not finite: are the weights whole?"


def modules_fault(model: LanguageModel, modules: Sequence[str]) -> str | None:
    """Why modules cannot be edited; None if they can."""
    try:
        find_modules(model.model, modules, name=model.name)
    except ConfigError as error:
        return str(error)
    return None


def signals_fault(model: LanguageModel, modules: Sequence[str]) -> str | None:
    """Why no fact could be written to modules, found by its forward and backward pass alone."""
    try:
        return _silent(ModelHost(model, modules))
    except UltraEditError as error:
        return str(error)


def _silent(host: ModelHost) -> str | None:
    signals = host.signals(Turn(1, (FACT,)))
    silent = [path for path, signal in signals.items() if not bool(signal.grads.any())]
    return f"no gradient reaches {silent[0]}" if silent else None

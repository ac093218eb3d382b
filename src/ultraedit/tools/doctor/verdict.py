"""One plain sentence on a model, and the command to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ultraedit.tools.doctor.smoke import Smoke
from ultraedit.tools.doctor.tokens import TokenFact

LEARNED = 0.9
"""A fact whose loss after one edit is above this share of what it was is written too weakly."""


@dataclass(frozen=True)
class ModelVerdict:
    """What a reader wants to know of a model."""

    editable: bool
    sentence: str
    notes: tuple[str, ...]
    """What to know beside it."""

    command: str
    """What to type next."""


def judge(
    model: str,
    smoke: Smoke | None,
    tokens: Sequence[TokenFact],
    *,
    preset: str | None,
    measured: bool,
    peak: int,
    room: int | None,
    data: str | None = None,
    cause: str | None = None,
) -> ModelVerdict:
    """Weigh what was found.

    Args:
        model: What the user calls the model.
        smoke: Outcome of the edit. None where none was tried.
        tokens: What is known of the tokenizer.
        preset: Name of the preset; None where nobody knows which modules to edit.
        measured: Whether somebody chose the preset for this model.
        peak: Predicted memory, in bytes.
        room: Memory of the device that is free, in bytes; None where it cannot be told.
        data: Facts of the user, as ``FORMAT:PATH``.
        cause: Why the edit was not tried.
    """
    notes = tuple(f"{fact.about}: {fact.found}." for fact in tokens if fact.trouble)
    if preset is None:
        show = shlex.join(["ultraedit", "models", "show", model])
        return ModelVerdict(False, f"{model} cannot be edited as it is: {cause}", notes, show)
    if room is not None and peak > room:
        command = ["ultraedit", "plan", model, "--dtype", "bfloat16"]
        return ModelVerdict(
            False,
            f"{model} does not fit here: it would take {_gb(peak)} and {_gb(room)} are free. Give "
            "run --dtype bfloat16, or --device-map stream, which leaves most of it in its file.",
            notes,
            shlex.join(command),
        )
    if smoke is None or smoke.fault is not None:
        why = cause if smoke is None else smoke.fault
        command = ["ultraedit", "models", "show", model]
        return ModelVerdict(False, f"{model} cannot be edited: {why}", notes, shlex.join(command))
    assert smoke.loss_before is not None and smoke.loss_after is not None
    if smoke.loss_after > LEARNED * smoke.loss_before:
        notes = (*notes, "One edit hardly changed the model: look for better modules with tune.")
    if measured:
        sentence = f"{model} can be edited, with the preset {preset}."
        return ModelVerdict(True, sentence, notes, _run(model, data))
    sentence = (
        f"{model} can be edited. No preset was measured for it: --eta auto finds the step, and "
        "tune looks for better modules."
    )
    return ModelVerdict(True, sentence, notes, _tune(model, data) if data else _run(model, data))


def _run(model: str, data: str | None) -> str:
    """A command that edits the model; with the facts of the demo where the user has none."""
    if data is None:
        return shlex.join(["ultraedit", "demo", "--model", model])
    return shlex.join(["ultraedit", "run", "--model", model, "--data", data, "--limit", "100"])


def _tune(model: str, data: str) -> str:
    command = ["ultraedit", "tune", "--model", model, "--data", data]
    return shlex.join([*command, "--budget", "10", "--out", "tuned.toml"])


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"

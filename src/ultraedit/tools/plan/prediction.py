"""A plan for this device and for graphics cards, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ultraedit.core.types import Editor, RememberingEditor
from ultraedit.editors import make_editor, name_of
from ultraedit.editors.anchored import Anchored
from ultraedit.models.precision import float32_bytes
from ultraedit.tools.plan import estimate
from ultraedit.tools.plan.estimate import Plan, Workload

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def predict(
    config: PretrainedConfig,
    patterns: Sequence[str],
    workload: Workload,
    dtype: torch.dtype,
    device: torch.device,
    *,
    editor: Editor | None = None,
    device_map: str | None = None,
    before: int | None = None,
    name: str = "MODEL",
    edits: int | None = None,
) -> dict[str, Any]:
    """Plan for a device and for graphics cards: what `plan` and ``--dry-run`` print.

    For UltraEdit; for another `editor` with what it keeps besides, in a run of so many `edits`.
    """
    editor = make_editor("ultraedit", {}) if editor is None else editor
    planned = partial(
        estimate.plan,
        config,
        patterns,
        workload,
        dtype=dtype,
        master=getattr(editor, "master", "float32"),
        name=name,
        streamed=device_map == "stream",
    )
    here = card = planned(device=device, before=before)
    if device.type != "cuda":
        # A card that need not be there: nothing is put on it.
        card = planned(device=torch.device("cuda"), timed=False)
    return _facts(here) | {
        "editor": name_of(editor),
        "planned_for": "ultraedit",
        "passes": getattr(editor, "passes", None) or 1,
        "kept_beyond": _kept_beyond(editor, here, edits, dtype, device),
        "device_map": device_map,
        "card_peak_bytes": card.peak,
        "fits": {f"{size} GB": there for size, there in estimate.fits(card.peak).items()},
        "cards": {f"{size} GB": count for size, count in estimate.cards(card).items()},
    }


def _kept_beyond(
    editor: Editor, plan: Plan, edits: int | None, dtype: torch.dtype, device: torch.device
) -> dict[str, int]:
    """Bytes that an editor takes beside what UltraEdit does, by what they are."""
    kept: dict[str, int] = {}
    if isinstance(editor, RememberingEditor):
        kept |= editor.extra_memory(plan.shapes, edits, dtype.itemsize)
    wide = float32_bytes(plan.parameters, dtype, device)
    if isinstance(editor, Anchored) and wide:
        kept["the model in float32, while a turn is made"] = wide
    return kept


def _facts(plan: Plan) -> dict[str, Any]:
    values = asdict(plan)
    parts = (
        *("weights", "streamed", "states", "copies", "rows"),
        *("batch", "solve", "saving", "runtime", "loading"),
    )
    return {
        "device": plan.device,
        "dtype": plan.dtype,
        "parameters": plan.parameters,
        "edited_parameters": plan.edited_parameters,
        "peak_bytes": plan.peak,
        "memory": {part: values[part] for part in parts} | {"editing": plan.editing},
        "flops_per_turn": plan.flops,
        "seconds_per_turn": plan.seconds,
    }

"""About how long the pieces of a plan take: on one core, on the small models, before any is begun.

Seconds of editing are those of docs/reproduce.md, measured on SmolLM2 with one core to itself. A
plan is printed with them so that nobody begins a week's work by mistake; they promise nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ultraedit.tools.reproduce.steps import Run, Step, Train

EDITING: Mapping[str, float] = MappingProxyType(
    {
        "ultraedit": 3.0,
        "stableedit": 3.0,
        "simie": 4.0,
        "mend": 3.0,
        "mend-original": 3.0,
        "malmen": 3.0,
        "rledit": 3.0,
        "in-context": 0.1,
        "ft-l": 65.0,
        "ft-m": 85.0,
        "ft-bf": 90.0,
        "anchored": 165.0,
        "lora": 250.0,
        "memit": 200.0,
        "prune": 200.0,
        "alphaedit": 210.0,
        "rect": 270.0,
        "wise": 375.0,
    }
)
"""Seconds for 100 edits, by editor."""

AUTO = 43.0
"""The same of UltraEdit where it chooses its own step, in several passes."""

SCORING, GENERATING, ONCE = 0.15, 0.45, 20.0
"""Seconds to score an edit, to generate its answer, and of each time that a run is scored."""

TRAINING = 0.3
"""Seconds to train a net on a row."""

MODELS: Mapping[str, float] = MappingProxyType({"smollm2": 1.0, "gemma3-270m": 1.6})
"""How much longer everything takes on a model than on SmolLM2. Others cannot be told."""


def seconds(step: Step) -> float | None:
    """About how long a piece takes from its beginning; None where nothing is known of its model."""
    if isinstance(step, Train):
        rows = step.settings["limit"]
        known = MODELS.get(step.settings["model"])
        return None if known is None or rows is None else known * TRAINING * rows
    if not isinstance(step, Run):
        return 0.0
    settings = step.settings
    factor, each = MODELS.get(settings["model"]), EDITING.get(settings["editor"])
    if factor is None or each is None:
        return None
    if settings["options"].get("eta") == "auto":
        each = AUTO
    return factor * (each * _trained_on(settings) / 100 + _scoring(settings))


def _trained_on(settings: Mapping[str, Any]) -> float:
    """Edits that are gone through: with replay all so far, turn after turn."""
    edits, per_turn = settings["limit"], settings["edits_per_turn"]
    if settings["options"].get("replay") != "all":
        return float(edits)
    return float(sum(min(made + per_turn, edits) for made in range(0, edits, per_turn)))


def _scoring(settings: Mapping[str, Any]) -> float:
    """Seconds of all times that a run is scored, the unedited model's first."""
    edits, per_turn, free = settings["limit"], settings["edits_per_turn"], settings["free_answers"]
    made = [edits, *(turn * per_turn for turn in settings["evaluate_at"]), edits]
    total = 0.0
    for place, each in enumerate(made):
        scored = min(each, settings["score_sample"] or each)
        asked = place in (0, len(made) - 1) or settings.get("free_always", False)
        total += ONCE + SCORING * scored + GENERATING * min(free, scored) * asked
    return total


def hours(steps: Iterable[Step], out: Path) -> float:
    """About how many hours are left of a plan, as far as its pieces are known."""
    return sum(seconds(step) or 0.0 for step in steps if step.status(out) != "done") / 3600

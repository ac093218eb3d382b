"""What a search tries: which layers of which kind, how large a step, how strong a ridge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ultraedit.core.errors import ConfigError
from ultraedit.models import describe_modules
from ultraedit.models.patterns import format_numbers
from ultraedit.models.preset import MLP_OUTPUTS, OTHER_OUTPUTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MLP_INPUTS = (
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.gate_up_proj",),
    ("mlp.c_fc",),
    ("mlp.fc_in",),
    ("mlp.fc1",),
    ("fc1",),
    ("mlp.dense_h_to_4h",),
)
"""What families call the matrices that lead into the MLP."""

STEPS = (0.5, 1.0, 2.0)
"""Steps that are tried, as multiples of what ``eta="auto"`` finds."""

FINER = (0.7, 1.4)
"""Multiples of the best step that are tried after that."""

RIDGES = (10.0, 0.1)
"""Multiples of the best ridge that are tried at the end."""


class Candidate(NamedTuple):
    """One point of the search."""

    modules: tuple[str, ...]
    """Patterns."""

    step: float = 1.0
    """Multiple of the step of ``eta="auto"``."""

    ridge: float = 1.0
    """Penalty on the size of the update."""

    def options(self, rows: int) -> dict[str, Any]:
        """Options of UltraEdit for a run of so many edits."""
        return self.settings() | {"expected_edits": rows}

    def settings(self) -> dict[str, Any]:
        """Options of UltraEdit for a run of any length: what a preset holds."""
        return {"eta": "auto", "step_factor": self.step, "ridge": self.ridge}


def module_sets(model: PreTrainedModel) -> list[tuple[str, ...]]:
    """Sets of modules to try: windows of layers, for the MLP's inputs and for its outputs.

    The windows end before the last layer, whose output no later layer reads. Those nearest to it
    come first: trials on them are the cheapest.

    Args:
        model: The model, with or without memory for its weights.

    Raises:
        ConfigError: If nothing in it is known to belong to an MLP or to lead out of an attention.
    """
    layers: dict[str, tuple[int, ...]] = {}
    for group in describe_modules(model):
        layers[group.kind] = (*layers.get(group.kind, ()), *group.layers)
    kinds = list(_kinds(layers))
    if not kinds:
        raise ConfigError(
            "None of the layers of this model is known to belong to an MLP, so there is nothing to "
            f"search (it has {', '.join(sorted(layers))}). Name some with --modules."
        )
    sets = []
    for window in windows(1 + max(max(numbers) for numbers in layers.values())):
        for kind in kinds:
            numbers = [n for n in window if all(n in layers[name] for name in kind)]
            if numbers:
                shown = format_numbers(numbers)
                sets.append(tuple(f"layers.[{shown}].{name}" for name in kind))
    return list(dict.fromkeys(sets))


def windows(layers: int) -> list[range]:
    """Windows of layers of a model that has so many: narrow, middle and wide, late ones first."""
    last = max(0, layers - 2)
    narrow, middle, wide = (
        max(n, round(layers / part)) for n, part in ((1, 15), (2, 7), (3, 3.75))
    )
    ends = [(last, narrow), (last, middle), (last - middle, middle), (last, wide)]
    ends.append((last - 2 * middle, middle))
    spans = [range(max(0, end - size + 1), end + 1) for end, size in ends if end >= 0]
    return list(dict.fromkeys(spans))


def _kinds(layers: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, ...]]:
    outputs = next((kind for kind in MLP_OUTPUTS if kind in layers), None)
    outputs = outputs or next((kind for kind in OTHER_OUTPUTS if kind in layers), None)
    if outputs is not None:
        yield (outputs,)
    inputs = next((kinds for kinds in MLP_INPUTS if all(kind in layers for kind in kinds)), None)
    if inputs is not None:
        yield inputs


def neighbors(best: Candidate) -> Iterator[Candidate]:
    """What is tried around the best candidate once the halving is over, the likeliest first."""
    for factor in (*FINER, *STEPS):
        yield best._replace(step=round(best.step * factor, 4))
    for factor in RIDGES:
        yield best._replace(ridge=best.ridge * factor)

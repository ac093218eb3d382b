"""What an edit would take, from the config alone: memory, time, and the cards that it fits on.

The model is built without weights and a batch runs through it without numbers
(`ultraedit.host.trace.cost`), so that activations are those of the model's own code. The rest is
counted: weights, the copies of the edited ones, and the rows of keys and gradients of a turn.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import PRECISE_ROWS
from ultraedit.core.types import Master, ModuleShape
from ultraedit.host.trace.cost import Cost, dry_run
from ultraedit.host.trace.signals import MAX_LOGITS, max_tokens
from ultraedit.host.trace.trunk import BUDGET_BYTES, STREAM_BYTES
from ultraedit.lifelong.loop import synchronize
from ultraedit.models import empty_model, find_modules
from ultraedit.models.language_model import intermediate_size, text_config
from ultraedit.models.modules import shape_of
from ultraedit.models.quantized import refuse_quantized
from ultraedit.models.streaming import lowest_layer, stays_in_file

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

CARDS_GB = (8, 16, 24, 48, 80)
"""Sizes of graphics cards, in units of 2^30 bytes."""

CARD_BYTES = 600 * 2**20
"""What CUDA and its libraries take of a card for themselves."""

RUNTIME_BYTES = 350 * 2**20
"""What Python, torch and transformers take where it cannot be measured."""

EFFICIENCY = {torch.float32: 0.7}
"""Share of the speed of a large matrix product that a whole turn reaches; 0.45 in 16 bits, where
products are faster and everything else is not (LOG.md, 2026-11-22)."""

MEASURE_SECONDS = 0.5


class Workload(NamedTuple):
    """What a turn holds."""

    edits_per_turn: int = 100
    tokens: int = 16
    """Mean tokens of an edit, prompt and answer. ZsRE has 14 in most vocabularies."""

    answer_tokens: int = 4
    """How many of them are supervised, on average."""

    asked_tokens: int | None = None
    """Tokens of all questions of an evaluation; None for those of a turn."""


@dataclass(frozen=True)
class Plan:
    """What editing would take on one device. Bytes, unless the name says otherwise."""

    device: str
    dtype: str
    parameters: int
    edited_parameters: int
    weights: int
    """All that are in memory at once."""

    streamed: int
    """Weights that stay in their file, read once for many prompts."""

    states: int
    """Hidden states below the lowest edited layer, where weights are streamed."""

    copies: int
    """The unedited weights of the edited modules, and the float32 sum of their changes."""

    rows: int
    """Keys and gradients of a turn."""

    batch: int
    """Activations, logits and their gradients in the largest batch."""

    solve: int
    """The editor's own tensors, for UltraEdit."""

    saving: int
    """A snapshot on its way to the disk; none on a card."""

    runtime: int
    """Python and its libraries, or what CUDA takes."""

    loading: int
    """Most memory while the model is loaded."""

    flops: int
    """Floating-point operations of a turn."""

    seconds: float | None
    """Time of a turn. None where the device was not asked."""

    shapes: tuple[ModuleShape, ...]
    """Of the edited modules."""

    @property
    def editing(self) -> int:
        """Most memory while a turn is made.

        A process keeps what it has freed (`loop.keep_freed_memory`), in pieces that the next
        part seldom fits into; what torch calls used on a card are the tensors of one part.
        """
        held = self.runtime + self.weights + self.states + self.copies + self.rows
        if self.device.startswith("cuda"):
            return held + max(self.batch, self.solve)
        return held + self.batch + self.solve + self.saving

    @property
    def peak(self) -> int:
        """Most memory at any moment."""
        return max(self.loading, self.editing)


def plan(
    config: PretrainedConfig,
    patterns: Sequence[str],
    workload: Workload,
    *,
    dtype: torch.dtype,
    device: torch.device,
    master: Master = "float32",
    timed: bool = True,
    before: int | None = None,
    name: str = "MODEL",
    streamed: bool = False,
) -> Plan:
    """Predict memory and time of a turn of UltraEdit.

    Args:
        config: The model's config.
        patterns: Module patterns, as in `find_modules`.
        workload: What a turn holds.
        dtype: Precision that the model is loaded in.
        device: Where it would run. It need not be there if it is not timed.
        master: What accumulates the changes.
        timed: Whether to measure the speed of the device, which takes half a second.
        before: Bytes that the process takes when the model is loaded, if it takes more by now, as
            with a tokenizer.
        name: What the user calls the model, for error messages.
        streamed: Whether the layers below the edited ones stay in their file, as with
            `models.load_streamed`.

    Raises:
        ConfigError: If a pattern matches nothing that can be edited, the weights are quantized in
            a way that cannot be, or there is nothing to stream.
    """
    refuse_quantized(config, name)
    model = empty_model(config, dtype)
    modules = find_modules(model, patterns, name=name)
    below = stays_in_file(model, lowest_layer(model, list(modules))) if streamed else []
    shapes = [shape_of(module) for module in modules.values()]
    edits, cost = _batch(model, config, modules, workload, device)
    rows = workload.edits_per_turn * workload.answer_tokens
    edited = sum(shape.d_in * shape.d_out for shape in shapes)
    layers = [_bytes(layer) for layer in below]
    # One layer at a time is in memory while prompts pass through it.
    weights = _bytes(model) - sum(layers) + max(layers, default=0)
    runtime = CARD_BYTES if device.type == "cuda" else runtime_bytes()
    flops = cost.flops * workload.edits_per_turn // edits
    return Plan(
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        parameters=sum(weight.numel() for weight in model.parameters()),
        edited_parameters=edited,
        weights=weights,
        streamed=sum(layers),
        states=_state_bytes(config, workload, dtype) if layers else 0,
        copies=edited * _copy_bytes(dtype, master),
        rows=rows * sum(shape.d_in + shape.d_out for shape in shapes) * 4,
        batch=cost.bytes,
        solve=_solve_bytes(rows, shapes),
        saving=0 if device.type == "cuda" else 2 * 4 * edited,
        runtime=runtime,
        loading=(runtime if before is None else before)
        + weights
        + (0 if layers else _file_bytes(model, config, device)),
        flops=flops,
        seconds=_seconds(flops, config, dtype, device) if timed else None,
        shapes=tuple(shapes),
    )


def _bytes(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def _state_bytes(config: PretrainedConfig, workload: Workload, dtype: torch.dtype) -> int:
    """Hidden states that are kept, and those of a window on their way up, twice."""
    asked = workload.asked_tokens or workload.edits_per_turn * workload.tokens
    size = asked * int(text_config(config).hidden_size) * dtype.itemsize
    window = min(STREAM_BYTES, size)
    return window + min(BUDGET_BYTES + window, size)


def fits(peak: int) -> dict[int, bool]:
    """For each size of `CARDS_GB`, whether a card has room for so many bytes."""
    return {size: peak <= size * 2**30 for size in CARDS_GB}


def cards(plan: Plan) -> dict[int, int | None]:
    """For each size of `CARDS_GB`, how many cards a model needs that is spread over them.

    Weights are spread evenly; what a turn needs besides is on one of the cards. None where that
    alone is too much.
    """
    least: dict[int, int | None] = {}
    for size in CARDS_GB:
        room = size * 2**30 - plan.runtime
        on_one = plan.editing - plan.runtime - plan.weights
        least[size] = -(-plan.weights // (room - on_one)) if room > on_one else None
    return least


def runtime_bytes() -> int:
    """What this process has in memory: Python and its libraries, where there is no model yet."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return RUNTIME_BYTES
    return pages * os.sysconf("SC_PAGE_SIZE")


def _batch(
    model: PreTrainedModel,
    config: PretrainedConfig,
    modules: Mapping[str, nn.Module],
    workload: Workload,
    device: torch.device,
) -> tuple[int, Cost]:
    """The largest batch of a turn: how many edits it holds, and what it takes."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    answers = min(workload.answer_tokens, workload.tokens)
    edits = min(
        workload.edits_per_turn,
        max_tokens(device) // workload.tokens,
        MAX_LOGITS // vocabulary // answers,
    )
    edits = max(1, edits)
    dtype = model.dtype
    try:
        return edits, dry_run(model, modules, edits, workload.tokens, answers)
    except ConfigError:
        if dtype == torch.bfloat16:
            raise
    # Without numbers the products of packed experts are known in bfloat16 alone.
    model = empty_model(config, torch.bfloat16)
    modules = find_modules(model, list(modules))
    cost = dry_run(model, modules, edits, workload.tokens, answers)
    return edits, cost._replace(bytes=cost.bytes * dtype.itemsize // torch.bfloat16.itemsize)


def _copy_bytes(dtype: torch.dtype, master: Master) -> int:
    """Bytes per edited weight beside the weight: the unedited one, and the float32 sum."""
    return dtype.itemsize + (4 if master == "float32" and dtype != torch.float32 else 0)


def _solve_bytes(rows: int, shapes: Sequence[ModuleShape]) -> int:
    """What a step of UltraEdit holds beside keys and gradients.

    The joined rows of all modules, raw and normalized, and one module's part: its rows in float64
    with their deviations and the squares of these, or its system and the solution.
    """
    held = largest = 0
    for d_in, d_out in shapes:
        width = d_in + d_out
        size = min(rows, d_in)
        held += 2 * 4 * rows * width
        precise = 8 if rows <= PRECISE_ROWS else 4
        system = 4 * rows * width + 2 * precise * size**2 + 4 * d_out * size
        largest = max(largest, 3 * 8 * rows * width, system)
    return held + largest


def _file_bytes(model: PreTrainedModel, config: PretrainedConfig, device: torch.device) -> int:
    """What the file takes in memory while it is read: nothing where it can be used as it is."""
    stored = getattr(config, "dtype", None) or getattr(text_config(config), "dtype", None)
    if device.type == "cuda" or stored is None or stored == model.dtype:
        return 0
    size: int = sum(weight.numel() for weight in model.parameters()) * stored.itemsize
    return size


def _seconds(
    flops: int, config: PretrainedConfig, dtype: torch.dtype, device: torch.device
) -> float:
    """Time of a turn, from the speed of one matrix product of the model's own size."""
    text = text_config(config)
    width, wide = int(text.hidden_size), intermediate_size(text)
    rows = max_tokens(device)
    weight = torch.ones(wide, width, dtype=dtype, device=device)
    inputs = torch.ones(rows, width, dtype=dtype, device=device)
    product = 2 * rows * width * wide
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < MEASURE_SECONDS or best == float("inf"):
        start = time.perf_counter()
        torch.nn.functional.linear(inputs, weight)
        synchronize()
        best = min(best, time.perf_counter() - start)
    return flops * best / product / EFFICIENCY.get(dtype, 0.45)

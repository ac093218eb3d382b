"""The released UltraEdit algorithm, step by step, slowly and in plain sight.

It serves twice: as the opponent that `make bench` times, and as the oracle that
``protocol="official"`` must equal. So it takes no short cut and shares no code with the
package. A step that costs time or memory in the released code costs it here: gradients of the
edited weights that nobody reads, logits at every position, features that travel through files,
and a dense d_in x d_in solve for every layer.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IGNORED = -100
"""Label of a position that is not scored."""

EPS = torch.finfo(torch.float32).eps

Encoded = dict[str, Tensor]
"""``input_ids``, ``attention_mask`` and ``labels`` of one example or of a padded batch of them."""


class Record(NamedTuple):
    """One fact and the questions asked about it."""

    prompt: str
    target: str
    rephrase: str
    locality_prompt: str
    locality_target: str


@dataclass
class NaiveResult:
    """What an edit run did and cost."""

    turns: int
    """Number of turns. A remainder smaller than a turn is not edited."""

    seconds: float
    """Wall time of all turns, evaluation excluded."""

    phases: dict[str, float]
    """Wall seconds by kind of work: encode, forward, backward, statistics, files, solve, apply.
    On a GPU only their sum means anything: the clock does not wait for the kernels."""

    shifts: list[dict[str, Tensor]] = field(default_factory=list)
    """Per turn and layer what was added, float32, shape (d_in, d_out); empty unless asked for."""


def read_zsre(path: str | Path, limit: int | None = None) -> list[Record]:
    """Read ZsRE in the layout of the paper's own files.

    Args:
        path: JSON array of objects with ``src ans rephrase loc loc_ans``.
        limit: How many rows to take from the start; None takes all.

    Returns:
        The records. Every locality prompt gets one question mark, whatever it ends in.
    """
    rows = json.loads(Path(path).read_text(encoding="utf-8"))[:limit]
    return [
        Record(row["src"], row["ans"], row["rephrase"], row["loc"] + "?", row["loc_ans"])
        for row in rows
    ]


def naive_edit(
    model: nn.Module,
    tokenizer: Any,
    records: Sequence[Record],
    modules: Mapping[str, nn.Module],
    *,
    eta: float,
    ridge: float = 1.0,
    edits_per_turn: int = 100,
    micro_batch: int = 10,
    workdir: str | Path | None = None,
    keep_shifts: bool = False,
    solve_dtype: torch.dtype = torch.float32,
) -> NaiveResult:
    """Edit a model in place, turn after turn, as the released code does.

    The model comes back edited, in evaluation mode, with every parameter frozen but the edited
    weights, whose ``.grad`` holds the sum over the whole run.

    Args:
        model: A causal language model of transformers, on any device, in any dtype.
        tokenizer: Its tokenizer.
        records: The edits in order.
        modules: The edited layers (`nn.Linear` or transformers' ``Conv1D``) by name.
        eta: Scale of the targets. Unitless; the update is linear in it.
        ridge: Penalty on the size of the update. The released code fixes it at 1.
        edits_per_turn: Edits that are applied together.
        micro_batch: Edits of one forward and backward pass. The loss is a mean over it, so it
            changes the result.
        workdir: Where the feature files go; None takes a temporary folder.
        keep_shifts: Whether to return what each turn added.
        solve_dtype: Precision of the dense solve. The released code's float32 is off by
            3e-4 to 7e-4 of the update on SmolLM2; float64 takes that out of a comparison.

    Returns:
        Number of turns, wall time, and the shifts if asked for.
    """
    model.eval().requires_grad_(False)
    for module in modules.values():
        module.weight.requires_grad_(True)
    normalizers = {layer_shape(module): Normalizer() for module in modules.values()}
    phases: dict[str, float] = defaultdict(float)
    result = NaiveResult(turns=0, seconds=0.0, phases=phases)
    with tempfile.TemporaryDirectory(dir=workdir) as folder:
        start = clock(model)
        for turn in whole_turns(records, edits_per_turn):
            with timed(phases, "encode"):
                examples = [encode(tokenizer, record.prompt, record.target) for record in turn]
                batches = micro_batches(examples, micro_batch, model.device)
            for number, batch in enumerate(batches):
                collect(model, modules, normalizers, batch, Path(folder), number, phases)
            shifts = {}
            for name, module in modules.items():
                with timed(phases, "files"):
                    keys, grads = read_features(Path(folder), name, len(batches))
                with timed(phases, "solve"):
                    normalizer = normalizers[layer_shape(module)]
                    shifts[name] = shift(normalizer, keys, grads, eta, ridge, solve_dtype)
            with timed(phases, "apply"):
                for name, module in modules.items():
                    add_to_weight(module, shifts[name])
            result.turns += 1
            if keep_shifts:
                result.shifts.append(shifts)
        result.seconds = clock(model) - start
    result.phases = dict(phases)
    return result


def naive_scores(
    model: nn.Module,
    tokenizer: Any,
    records: Sequence[Record],
    micro_batch: int = 10,
    edits_per_turn: int = 100,
) -> dict[str, float]:
    """Teacher-forced token accuracy over all records, as fractions.

    The score of an example is the share of its answer tokens that are the model's top choice
    given the prompt and the answer tokens before them.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        records: What to score. Unlike in `naive_edit`, a remainder is scored too.
        micro_batch: Examples of one forward pass.
        edits_per_turn: Examples that are sorted together.

    Returns:
        Means over the examples: ``efficacy`` (the edits), ``generalization`` (their rephrases)
        and ``specificity`` (the locality questions against their gold answers).
    """
    kinds = {
        "efficacy": [(record.prompt, record.target) for record in records],
        "generalization": [(record.rephrase, record.target) for record in records],
        "specificity": [(record.locality_prompt, record.locality_target) for record in records],
    }
    model.eval()
    return {
        kind: mean_accuracy(model, tokenizer, questions, micro_batch, edits_per_turn)
        for kind, questions in kinds.items()
    }


@torch.no_grad()
def mean_accuracy(
    model: nn.Module,
    tokenizer: Any,
    questions: Sequence[tuple[str, str]],
    micro_batch: int,
    edits_per_turn: int,
) -> float:
    """Mean over the questions of the share of answer tokens that the model gets right."""
    scores: list[float] = []
    for start in range(0, len(questions), edits_per_turn):
        part = questions[start : start + edits_per_turn]
        examples = [encode(tokenizer, prompt, answer) for prompt, answer in part]
        for batch in micro_batches(examples, micro_batch, model.device):
            labels = batch["labels"]
            choices = forward(model, batch).argmax(dim=-1)
            for row_choices, row_labels in zip(choices, labels, strict=True):
                scored = row_labels != IGNORED
                right = row_choices[scored] == row_labels[scored]
                scores.append(right.float().mean().item())
    return math.fsum(scores) / len(scores)


def whole_turns(records: Sequence[Record], edits_per_turn: int) -> Iterator[Sequence[Record]]:
    """Cut the records into turns and leave out a remainder smaller than a turn."""
    for end in range(edits_per_turn, len(records) + 1, edits_per_turn):
        yield records[end - edits_per_turn : end]


def encode(tokenizer: Any, prompt: str, answer: str) -> Encoded:
    """Token ids of a prompt with its answer, labels standing where the logits predict them.

    The last answer token is predicted and never read, so it is not part of the input.
    """
    prompt_ids = tokenizer(prompt)["input_ids"]
    answer_ids = tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
    input_ids = prompt_ids + answer_ids[:-1]
    labels = [IGNORED] * (len(prompt_ids) - 1) + answer_ids
    return {
        "input_ids": torch.tensor(input_ids),
        "attention_mask": torch.ones(len(input_ids), dtype=torch.long),
        "labels": torch.tensor(labels),
    }


def micro_batches(
    examples: Sequence[Encoded], micro_batch: int, device: torch.device
) -> list[Encoded]:
    """Sort longest first, ties in their given order, then cut and pad on the right."""
    ordered = sorted(examples, key=lambda example: len(example["input_ids"]), reverse=True)
    return [
        {
            name: nn.utils.rnn.pad_sequence(
                [example[name] for example in ordered[start : start + micro_batch]],
                batch_first=True,
                padding_value=padding,
            ).to(device)
            for name, padding in (("input_ids", 0), ("attention_mask", 0), ("labels", IGNORED))
        }
        for start in range(0, len(ordered), micro_batch)
    ]


def forward(model: nn.Module, batch: Encoded) -> Tensor:
    """Logits at every position, shape (rows, length, vocabulary)."""
    return model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).logits


class Normalizer:
    """Running mean and deviation of every feature, shared by all layers of one weight shape.

    The scatter of a batch of m rows is added as m times its unbiased variance, where m - 1 times
    would be right. That is how the released code counts, and a batch of one row gives NaN.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.scatter: Tensor | float = 0.0
        self.deviation: Tensor | float = 0.0

    def update(self, rows: Tensor) -> None:
        """Take in rows of shape (m, features)."""
        m = len(rows)
        total = self.count + m
        difference = rows.mean(dim=0) - self.mean
        self.mean = self.mean + difference * (m / total)
        self.scatter = self.scatter + m * rows.var(dim=0) + difference**2 * (self.count * m / total)
        self.count = total
        self.deviation = (self.scatter / (total - 1 + EPS)).sqrt()

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalize by all that was seen so far."""
        return (rows - self.mean) / (self.deviation + EPS)


def collect(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    normalizers: Mapping[tuple[int, int], Normalizer],
    batch: Encoded,
    folder: Path,
    number: int,
    phases: dict[str, float],
) -> None:
    """Run one micro-batch, fold its features into the statistics and write them to files.

    Another order of layers or of whole batches would change rounding alone. Which examples share
    a batch does change the result: the loss is a mean over it, and see `Normalizer`.
    """
    labels = batch["labels"]
    scored = labels != IGNORED
    with watched(modules, scored) as (keys, grads):
        with timed(phases, "forward"):
            logits = forward(model, batch)
            loss = F.cross_entropy(logits[scored], labels[scored])
        with timed(phases, "backward"), warnings.catch_warnings():
            # The lowest edited layer has an input without gradient, which its hook remarks on.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            loss.backward()
    for name, module in modules.items():
        with timed(phases, "statistics"):
            normalizers[layer_shape(module)].update(torch.cat((keys[name], grads[name]), dim=1))
        with timed(phases, "files"):
            torch.save(keys[name], folder / f"{name}.{number}.keys")
            torch.save(grads[name], folder / f"{name}.{number}.grads")


@contextmanager
def watched(
    modules: Mapping[str, nn.Module], scored: Tensor
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Note, in float32, inputs and output gradients of the layers at the scored positions.

    Yields:
        Two tables by layer name that fill as the model runs: keys of shape (m, d_in) in the
        forward pass and gradients of shape (m, d_out) in the backward pass.
    """
    keys: dict[str, Tensor] = {}
    grads: dict[str, Tensor] = {}
    handles = []
    for name, module in modules.items():

        def note_input(_: nn.Module, inputs: Any, __: Any, name: str = name) -> None:
            keys[name] = inputs[0].detach()[scored].float()

        def note_gradient(_: nn.Module, __: Any, outputs: Any, name: str = name) -> None:
            grads[name] = outputs[0].detach()[scored].float()

        handles.append(module.register_forward_hook(note_input))
        handles.append(module.register_full_backward_hook(note_gradient))
    try:
        yield keys, grads
    finally:
        for handle in handles:
            handle.remove()


def read_features(folder: Path, name: str, batches: int) -> tuple[Tensor, Tensor]:
    """Keys (n, d_in) and gradients (n, d_out) of one layer over the whole turn, from the files."""
    keys = torch.cat([torch.load(folder / f"{name}.{i}.keys") for i in range(batches)])
    grads = torch.cat([torch.load(folder / f"{name}.{i}.grads") for i in range(batches)])
    return keys, grads


def shift(
    normalizer: Normalizer,
    keys: Tensor,
    grads: Tensor,
    eta: float,
    ridge: float,
    solve_dtype: torch.dtype,
) -> Tensor:
    """What to add to a layer that is stored (d_in, d_out): least squares on the scaled targets."""
    d_in = keys.shape[1]
    normalized = normalizer(torch.cat((keys, grads), dim=1))
    normal_keys, normal_grads = normalized[:, :d_in], normalized[:, d_in:]
    targets = -eta * (normal_keys**2).sum(dim=1, keepdim=True) * normal_grads
    keys, targets = keys.to(solve_dtype), targets.to(solve_dtype)
    system = keys.T @ keys + ridge * torch.eye(d_in, dtype=solve_dtype, device=keys.device)
    return torch.linalg.solve(system, keys.T @ targets).float()


def layer_shape(module: nn.Module) -> tuple[int, int]:
    """Input and output size of a linear layer, however it stores its weight."""
    rows, columns = module.weight.shape
    return (columns, rows) if isinstance(module, nn.Linear) else (rows, columns)


@torch.no_grad()
def add_to_weight(module: nn.Module, change: Tensor) -> None:
    """Add a change of shape (d_in, d_out) in the weight's own dtype, rounding it first."""
    stored = change.T if isinstance(module, nn.Linear) else change
    module.weight += stored.to(module.weight.dtype)


def clock(model: nn.Module) -> float:
    """Seconds on the wall, read after the model's device has done all it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


@contextmanager
def timed(phases: dict[str, float], phase: str) -> Iterator[None]:
    """Add the wall time of a block to a phase."""
    start = time.perf_counter()
    yield
    phases[phase] += time.perf_counter() - start

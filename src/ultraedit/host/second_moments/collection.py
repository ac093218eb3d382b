"""Collect second moments over a sample of passages, with what is needed to go on after a kill.

The sample is cut into windows; passages of a window share batches. After some windows the sums
and the place reached are written whole to one file, from which a later call goes on, to the same
matrices as an unbroken one: the windows do not depend on where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ultraedit.core.encoding import text_ids
from ultraedit.core.files import staged
from ultraedit.host import trace
from ultraedit.models.modules import shape_of
from ultraedit.models.weights import weight_view

if TYPE_CHECKING:
    from torch import nn

    from ultraedit.core.types import Observer
    from ultraedit.models import LanguageModel

WINDOW = 64
"""Passages that are batched together."""

PASSAGE_TOKENS = 1024
"""Where a passage is cut, if the model's context is not shorter."""

SAVE_SECONDS = 15.0
"""Least time between two writings of the sums."""

SAVE_SHARE = 0.1
"""Largest share of the time that these writings may take."""

DOUBLINGS = 3
"""How often the sample doubles on the way to its full size, for the convergence report."""


@dataclass
class Collected:
    """Sums over the passages so far, and how much they still changed."""

    sums: trace.MomentSums
    passages: int = 0
    doublings: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """By module path: size of the sample, relative change since half of it (Frobenius)."""
    halfway: dict[str, Tensor] = field(default_factory=dict)
    """The means at the last doubling."""


def collect(
    language_model: LanguageModel,
    modules: Mapping[str, nn.Module],
    passages: Sequence[str],
    resume: Path,
    observer: Observer,
) -> Collected:
    """Run passages through a model, from where an earlier call was stopped.

    Args:
        language_model: The model, its weights as they should be measured.
        modules: The linear layers by path.
        passages: The sample.
        resume: File for what is needed to go on. It belongs to this model, these modules and this
            sample, and is taken away at the end.
        observer: Told of every passage.

    Raises:
        StorageError: If that file cannot be written.
    """
    so_far = _resumed(resume, modules) or _begun(modules)
    observer.stage(f"Reading {len(passages):,} passages", len(passages))
    observer.advance(so_far.passages)
    marks = doubling_sizes(len(passages))
    saved, cost = time.monotonic(), 0.0
    for start, stop in windows(len(passages), marks):
        if stop <= so_far.passages:
            continue
        rows = tokenize(language_model, passages[start:stop])
        trace.add_moments(language_model.model, modules, rows, so_far.sums)
        so_far.passages = stop
        if stop in marks:
            _compare(so_far)
        observer.advance(stop - start)
        if time.monotonic() - saved > max(SAVE_SECONDS, cost / SAVE_SHARE) and stop < len(passages):
            begun = time.monotonic()
            _save(so_far, resume)
            saved = time.monotonic()
            cost = saved - begun
    return so_far


def tokenize(language_model: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as `encoding.text_ids` has them, cut where the model ends."""
    limit = min(language_model.context_length or PASSAGE_TOKENS, PASSAGE_TOKENS)
    return [list(row[:limit]) for row in text_ids(language_model.tokenizer, texts)]


def doubling_sizes(samples: int) -> list[int]:
    """Sizes of the sample at which its moments are compared, the last one being all of it."""
    return sorted({-(-samples // 2**k) for k in range(DOUBLINGS + 1)})


def windows(samples: int, marks: Sequence[int]) -> list[tuple[int, int]]:
    """Cut a sample into windows that end at its doublings too."""
    stops = sorted({*range(WINDOW, samples, WINDOW), *marks})
    return list(zip([0, *stops], stops, strict=False))


def _begun(modules: Mapping[str, nn.Module]) -> Collected:
    sizes = {path: shape_of(module).d_in for path, module in modules.items()}
    return Collected(trace.MomentSums.zeros(modules, sizes))


def _compare(so_far: Collected) -> None:
    for path in so_far.sums.sums:
        mean = so_far.sums.mean(path).cpu()
        if path in so_far.halfway:
            away = torch.linalg.matrix_norm(mean - so_far.halfway[path])
            change = float(away / torch.linalg.matrix_norm(mean).clamp(min=1e-30))
            so_far.doublings.setdefault(path, []).append((so_far.passages, change))
        so_far.halfway[path] = mean


def _save(so_far: Collected, file: Path) -> None:
    tensors = {f"sums/{path}": total.cpu() for path, total in so_far.sums.sums.items()}
    tensors |= {f"halfway/{path}": mean for path, mean in so_far.halfway.items()}
    place = {
        "passages": so_far.passages,
        "tokens": so_far.sums.tokens,
        "doublings": so_far.doublings,
    }
    with staged(file) as stage:
        save_file(tensors, stage, metadata={"place": json.dumps(place)})


def _resumed(file: Path, modules: Mapping[str, nn.Module]) -> Collected | None:
    """What an earlier call left, if it is there and whole."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            place = json.loads(opened.metadata()["place"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        sums = {
            path: tensors[f"sums/{path}"].to(weight_view(module).device)
            for path, module in modules.items()
        }
        halfway = {p: tensors[f"halfway/{p}"] for p in modules if f"halfway/{p}" in tensors}
        doublings = {p: [(int(n), c) for n, c in rows] for p, rows in place["doublings"].items()}
        total = trace.MomentSums(sums, place["tokens"])
        return Collected(total, place["passages"], doublings, halfway)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None  # It is only a shortcut: without it, collecting starts over.

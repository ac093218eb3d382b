"""What storing a weight in a type of GGUF costs: distances, and what is left of a change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Kind

Array = np.ndarray[Any, Any]

_PART = 1 << 22
"""Numbers of a tensor that are compared at a time."""

EXACT = 0.01
"""Largest relative distance of a tensor to the weight that was loaded from it: rounding to
bfloat16 makes 0.002."""

_ROUNDED = {8: 0.02, 6: 0.05, 5: 0.1, 4: 0.2, 3: 0.35, 2: 0.6, 1: 0.9}
"""By bits of its type, the largest relative distance of a tensor to the weight that it was made
of. Random rows are 1.4 apart."""


def tolerance(kind: Kind) -> float:
    """Largest relative distance of a tensor of a type to the weight that it was made of."""
    if kind in (Kind.F32, Kind.F16, Kind.BF16):
        return EXACT
    digits = re.search(r"\d", kind.name)
    return _ROUNDED.get(int(digits.group()) if digits else 4, 0.2)


def distance(stored: Array, wanted: Array) -> float:
    """``||stored - wanted|| / ||wanted||``, Frobenius."""
    size = error = 0.0
    for rows in _parts(wanted):
        size += _square(wanted[rows])
        error += _square(stored[rows] - wanted[rows])
    return (error / size) ** 0.5 if size else float(np.any(stored))


def _square(numbers: Array) -> float:
    """Sum of squares, in float64."""
    return float(np.einsum("ij,ij->", numbers, numbers, dtype=np.float64))


def _parts(weight: Array) -> Iterator[slice]:
    """Rows a few at a time, so that nothing else as large as the tensor comes to be."""
    count = max(1, _PART // weight.shape[1])
    for start in range(0, len(weight), count):
        yield slice(start, start + count)


def kept_share(stored: Array, before: Array, after: Array) -> float | None:
    """Projection of what was stored of a change on all of it."""
    size = kept = 0.0
    for rows in _parts(stored):
        change = (after[rows] - before[rows]).astype(np.float64)
        size += float(np.vdot(change, change))
        kept += float(np.vdot((stored[rows] - before[rows]).astype(np.float64), change))
    return kept / size if size else None


def within(stored: Array, wanted: Array, kind: Kind) -> bool:
    """Whether every number is as near as its type allows."""
    return all(_within(stored[rows], wanted[rows], kind) for rows in _parts(wanted))


def _within(stored: Array, wanted: Array, kind: Kind) -> bool:
    size, error = np.abs(wanted), np.abs(stored - wanted)
    if kind == Kind.F32:
        return bool(np.array_equal(stored, wanted))
    if kind == Kind.F16:
        # 11 significant bits; below 2^-14 steps of 2^-24.
        return bool(np.all(error <= np.maximum(size * 2.0**-11, 2.0**-25)))
    if kind == Kind.BF16:
        return bool(np.all(error <= np.maximum(size * 2.0**-8, 2.0**-126)))
    # Blocks of 32 share a step that is stored in 16 bits: that of Q8_0 is max / 127, and those of
    # 4 and 5 bits are at most their range over 15 and 31, or half of the range over 8 and 16.
    steps = {Kind.Q8_0: 127, Kind.Q5_0: 16, Kind.Q5_1: 15.5, Kind.Q4_0: 8, Kind.Q4_1: 7.5}[kind]
    blocks = error.reshape(-1, 32)
    largest = size.reshape(-1, 32).max(1, keepdims=True)
    # The sides of the 4- and 5-bit ranges are not symmetric: a whole step is possible there.
    half = 0.5 if kind == Kind.Q8_0 else 1.0
    return bool(np.all(blocks <= largest * (half / steps + 2.0**-9)))

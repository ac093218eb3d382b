"""From the numbers of a table back to the records that they name."""

from __future__ import annotations

import json

import pytest


def untraced(out, cells):
    """The cells with a number of ours that the records named beside it do not give.

    A text has to name where it is from, which need not be a record: a tick may be a property of
    an editor.
    """
    return [each for each in cells if each["ours"] is not None and not _is_traced(out, each)]


def _is_traced(out, cell):
    if isinstance(cell["ours"], str) or not cell["from"]:
        return bool(cell["from"])
    return _fits(cell["ours"], [_stored(out, source) for source in cell["from"]])


def _stored(out, source):
    """The number that a source names."""
    line, _, field = source["field"].rpartition(":")
    path = out / source["run"] / source["file"]
    found = json.loads(path.read_text().splitlines()[int(line) - 1] if line else path.read_text())
    for key in field.split("."):
        found = found[key]
    return found


def _fits(ours, values):
    """Whether a number is one of a record in its unit, a mean, or a difference of such.

    Edits of a run, by which its seconds are divided, are 6, 12, 20, 60 or 300 at the small scales.
    The comparison at length has plain numbers, and seconds of turns of so many edits as for 100.
    """
    if isinstance(ours, int):
        return values == [ours]
    mean = sum(values) / len(values)
    ways = [mean, *(100 * mean / turn for turn in (2, 4, 6, 100, 300, 1_000, 2_000))]
    ways += [100 * mean, mean / 2**30, *(mean / edits for edits in (2, 6, 12, 20, 60, 300))]
    ways += [100 * (values[0] - values[1])] if len(values) == 2 else []
    return any(ours == pytest.approx(way, rel=1e-9) for way in ways)

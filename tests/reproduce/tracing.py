"""From the numbers of a table back to the records that they name."""

from __future__ import annotations

import json

import pytest


def untraced(out, cells):
    """The cells with a number of ours that the records named beside it do not give."""
    return [
        cell
        for cell in cells
        if cell["ours"] is not None
        and not (cell["from"] and _fits(cell["ours"], [_stored(out, s) for s in cell["from"]]))
    ]


def _stored(out, source):
    """What a source names; None where it names no file, as the table of editors does not."""
    line, _, field = source["field"].rpartition(":")
    path = out / source["run"] / source["file"]
    if source["run"] == "editors":
        return None
    found = json.loads(path.read_text().splitlines()[int(line) - 1] if line else path.read_text())
    for key in field.split("."):
        found = found[key]
    return found


def _fits(ours, values):
    """Whether a number is one of a record in its unit, a mean, or a difference of such.

    Edits of a run, by which its seconds are divided, are 6, 12, 20, 60 or 300 at the small scales.
    """
    if not isinstance(ours, float):
        return True
    mean = sum(values) / len(values)
    ways = [100 * mean, mean / 2**30, *(mean / edits for edits in (2, 6, 12, 20, 60, 300))]
    ways += [100 * (values[0] - values[1])] if len(values) == 2 else []
    return any(ours == pytest.approx(way, rel=1e-9) for way in ways)

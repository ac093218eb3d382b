"""Numbers out of the records of runs, each with the file and the field that it stands in."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.tools.reproduce.environment import Environment, Unavailable
from ultraedit.tools.reproduce.names import FIELDS, Wanted, label
from ultraedit.tools.reproduce.steps import Run
from ultraedit.tools.reproduce.working import given_up


class Source(NamedTuple):
    """Where a number stands."""

    run: str
    """Folder, within that of the reproduction."""
    file: str
    field: str
    """Keys with dots between them, behind ``N:`` the line of the file."""


class Value(NamedTuple):
    """A number as it is shown, and where it is from; several where it was worked out."""

    number: float
    sources: tuple[Source, ...]


class Point(NamedTuple):
    """A number at a place of a curve."""

    at: int
    value: Value
    made: Source
    """Where ``at`` stands."""


class RunRecords:
    """What the runs of a reproduction have recorded. A run that is not there says why."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.missing: dict[str, str] = {}
        """What could not be read, and why, in the order in which it was asked for."""
        self._read = cache(_read_json)
        self._lines = cache(_read_lines)

    def run(self, wanted: Wanted) -> Run | None:
        """The finished run of a row; None, with a note of why, where there is none."""
        return self.finished(wanted, self.environment.run)

    def finished(self, wanted: Wanted, find: Callable[[Wanted], Run]) -> Run | None:
        """A finished run; None, with a note of why, where there is none."""
        try:
            run = find(wanted)
        except Unavailable as error:
            self.missing[str(wanted)] = str(error)
            return None
        status = run.status(self.environment.out)
        if status == "done":
            return run
        why = given_up(run, self.environment.out)
        left = {"to do": "not run yet", "interrupted": "interrupted"}[status]
        self.missing[str(wanted)] = f"stopped: {why}" if why else left
        return None

    def score(self, wanted: Wanted, metric: str, *, when: str = "after") -> Value | None:
        """A score of a run, in percent."""
        run = self.run(wanted)
        if run is None:
            return None
        field = f"{when}.{FIELDS.get(metric, metric)}"
        value = self.number(run.place, "summary.json", field, 100)
        if value is None:
            self._unasked(wanted, metric)
        return value

    def _unasked(self, wanted: Wanted, metric: str) -> None:
        name = f"{label(metric)} on {label(wanted.dataset)}"
        self.missing[name] = "the facts here have no such questions"

    def number(self, place: str, file: str, field: str, scale: float = 1.0) -> Value | None:
        """A number of a JSON file; None where it is null or not there."""
        value = _at(self._read(self.environment.out / place / file), field)
        if value is None:
            return None
        return Value(scale * value, (Source(place, file, field),))

    def object(self, place: str) -> dict[str, Any]:
        """What a JSON file of the reproduction has; nothing where it is not there."""
        content: dict[str, Any] = self._read(self.environment.out / place)
        return content

    def curve(self, wanted: Wanted, metric: str) -> list[Point]:
        """A score, in percent, after each checkpoint, by the number of edits so far."""
        field = f"scores.{FIELDS.get(metric, metric)}"
        run = self.run(wanted)
        points = self._points(run, "checkpoint", "made", field, 100)
        if run is not None and not points:
            self._unasked(wanted, metric)
        return points

    def memory(self, wanted: Wanted) -> list[Point]:
        """Peak memory in GiB after each turn, by the number of edits so far."""
        return self._points(self.run(wanted), "turn", "total_edits", "memory_bytes", 1 / 2**30)

    def _points(
        self, run: Run | None, kind: str, made: str, field: str, scale: float
    ) -> list[Point]:
        """A number of each record of a kind, in its unit, by the last at so many edits."""
        if run is None:
            return []
        points = {}
        for number, row in self.lines(run, "records.jsonl"):
            value = _at(row, field) if row["kind"] == kind and row["turn"] else None
            if value is not None:
                here, there = (
                    Source(run.place, "records.jsonl", f"{number}:{name}") for name in (field, made)
                )
                points[row[made]] = Point(row[made], Value(scale * value, (here,)), there)
        return list(points.values())

    def lines(self, run: Run, file: str) -> tuple[tuple[int, dict[str, Any]], ...]:
        """The objects of a file of a run, with the numbers of their lines from 1."""
        return self._lines(self.environment.out / run.place / file)

    def edits(self, run: Run) -> int:
        """How many edits a finished run has made."""
        value = self.number(run.place, "summary.json", "edits")
        assert value is not None
        return int(value.number)


def mean_of(values: list[Value | None]) -> Value | None:
    """The mean of numbers; None unless all are there."""
    there = [value for value in values if value is not None]
    if not there or len(there) < len(values):
        return None
    sources = tuple(source for value in there for source in value.sources)
    return Value(sum(value.number for value in there) / len(there), sources)


def _at(value: Any, field: str) -> Any:
    """What stands under keys with dots between them; None where it is not there."""
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_lines(path: Path) -> tuple[tuple[int, dict[str, Any]], ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple((number, json.loads(line)) for number, line in enumerate(lines, 1))

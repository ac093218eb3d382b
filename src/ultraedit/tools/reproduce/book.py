"""Numbers out of the records of runs, each with the file and the field that it stands in."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.tools.reproduce.bench import Bench, Unavailable
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


class Book:
    """What the runs of a reproduction have recorded. A run that is not there says why."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.missing: dict[str, str] = {}
        """What could not be read, and why, in the order in which it was asked for."""
        self._read = cache(_read_json)
        self._lines = cache(_read_lines)

    def run(self, wanted: Wanted) -> Run | None:
        """The finished run of a row; None, with a note of why, where there is none."""
        try:
            run = self.bench.run(wanted)
        except Unavailable as error:
            self.missing[str(wanted)] = str(error)
            return None
        return run if self.is_done(run, str(wanted)) else None

    def is_done(self, run: Run, name: str) -> bool:
        """Whether a run is finished; if not, a note says why."""
        status = run.status(self.bench.out)
        if status != "done":
            why = given_up(run, self.bench.out)
            left = {"to do": "not run yet", "interrupted": "interrupted"}[status]
            self.missing[name] = f"stopped: {why}" if why else left
        return status == "done"

    def score(self, wanted: Wanted, metric: str, *, when: str = "after") -> Value | None:
        """A score of a run, in percent."""
        run = self.run(wanted)
        if run is None:
            return None
        field = f"{when}.{FIELDS.get(metric, metric)}"
        found = self.number(run.place, "summary.json", field, 100)
        if found is None:
            self._unasked(wanted, metric)
        return found

    def _unasked(self, wanted: Wanted, metric: str) -> None:
        name = f"{label(metric)} on {label(wanted.dataset)}"
        self.missing[name] = "the facts here have no such questions"

    def number(self, place: str, file: str, field: str, scale: float = 1.0) -> Value | None:
        """A number of a JSON file; None where it is null or not there."""
        found: Any = self._read(self.bench.out / place / file)
        for key in field.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if found is None:
            return None
        return Value(scale * found, (Source(place, file, field),))

    def object(self, place: str) -> dict[str, Any]:
        """What a JSON file of the reproduction has; nothing where it is not there."""
        found: dict[str, Any] = self._read(self.bench.out / place)
        return found

    def curve(self, wanted: Wanted, metric: str) -> list[Point]:
        """A score, in percent, after each checkpoint, by the number of edits so far."""
        run = self.run(wanted)
        if run is None:
            return []
        points = {}
        name = f"scores.{FIELDS.get(metric, metric)}"
        for number, row in self._lines(self.bench.out / run.place / "records.jsonl"):
            if row["kind"] == "checkpoint" and row["turn"]:
                score = row["scores"].get(metric)
                if score is not None:
                    source = Source(run.place, "records.jsonl", f"{number}:{name}")
                    points[row["made"]] = Point(
                        row["made"],
                        Value(100 * score, (source,)),
                        Source(run.place, "records.jsonl", f"{number}:made"),
                    )
        if not points:
            self._unasked(wanted, metric)
        return list(points.values())

    def memory(self, wanted: Wanted) -> list[Point]:
        """Peak memory in GiB after each turn, by the number of edits so far."""
        run = self.run(wanted)
        if run is None:
            return []
        return [
            Point(
                row["total_edits"],
                Value(
                    row["memory_bytes"] / 2**30,
                    (Source(run.place, "records.jsonl", f"{number}:memory_bytes"),),
                ),
                Source(run.place, "records.jsonl", f"{number}:total_edits"),
            )
            for number, row in self._lines(self.bench.out / run.place / "records.jsonl")
            if row["kind"] == "turn"
        ]

    def lines(self, run: Run, file: str) -> tuple[tuple[int, dict[str, Any]], ...]:
        """The objects of a file of a run, with the numbers of their lines from 1."""
        return self._lines(self.bench.out / run.place / file)

    def edits(self, run: Run) -> int:
        """How many edits a finished run has made."""
        found = self.number(run.place, "summary.json", "edits")
        assert found is not None
        return int(found.number)


def mean_of(values: list[Value | None]) -> Value | None:
    """The mean of numbers; None unless all are there."""
    there = [value for value in values if value is not None]
    if not there or len(there) < len(values):
        return None
    sources = tuple(source for value in there for source in value.sources)
    return Value(sum(value.number for value in there) / len(there), sources)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_lines(path: Path) -> tuple[tuple[int, dict[str, Any]], ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple((number, json.loads(line)) for number, line in enumerate(lines, 1))

"""Figures 6 and 9: general ability of the model before and after the edits of each method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ultraedit.report.figures import BEFORE, COLOURS, draw
from ultraedit.tools.reproduce.bench import Bench, Unavailable
from ultraedit.tools.reproduce.book import Book, Value
from ultraedit.tools.reproduce.measuring import Measure
from ultraedit.tools.reproduce.names import Wanted, label, row_label
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered, notes
from ultraedit.tools.reproduce.sheet import Cell, Rows, Sheet, cell
from ultraedit.tools.reproduce.steps import Step

TASKS = ("sst2", "mmlu", "mrpc", "nli")


@dataclass(frozen=True)
class Bars:
    """A group of bars for each task, a bar for each method and one for the unedited model."""

    id: str
    title: str
    methods: tuple[str, ...]
    model: str = "llama-3"
    dataset: str = "zsre"

    def wanted(self) -> Iterator[Wanted]:
        """The runs behind the figure."""
        yield from (Wanted(self.model, method, self.dataset) for method in self.methods)

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """The runs that were chosen, and the ability of the model before and after each."""
        for wanted in self.wanted():
            if wanted in chosen:
                try:
                    run = bench.run(wanted)
                except Unavailable:
                    continue
                yield self._vanilla(bench)
                yield Measure(bench.ability(), run=run)

    def render(self, book: Book) -> Rendered:
        """The figure and its numbers."""
        paper = published(self.id)
        rows: list[tuple[str, list[tuple[Value | None, Value | None]]]] = []
        rows.append(("Vanilla", self._scores(book, self._vanilla(book.bench), "Vanilla")))
        for wanted in self.wanted():
            run = book.run(wanted)
            if run is None:
                found: list[tuple[Value | None, Value | None]] = [(None, None)] * len(TASKS)
            else:
                found = self._scores(book, Measure(book.bench.ability(), run=run), str(wanted))
            untrained = book.bench.untrained(wanted.method)
            rows.append((row_label(wanted.method, untrained=untrained), found))
        sheet = Sheet(
            self.id,
            self.title,
            "Method",
            tuple((label(task), ("accuracy", "s.e.")) for task in TASKS),
            (("", _cells(rows)),),
            paper.source,
            (*paper.notes, *self._asked(book), *notes(book, list(self.wanted()))),
        )
        return Rendered(sheet, _picture(rows))

    def _vanilla(self, bench: Bench) -> Measure:
        return Measure(bench.ability(), model=bench.model(self.model))

    def _asked(self, book: Book) -> Iterator[str]:
        """Who asked how many questions, and with how many examples: the same of every model."""
        found = book.object(self._vanilla(book.bench).place)
        if not found:
            return
        told = (
            f"{label(name)} {task['questions']:,} with {task['shots']} examples"
            for name, task in found["tasks"].items()
        )
        yield f"Questions of {found['harness']}: {', '.join(told)}."

    def _scores(
        self, book: Book, measure: Measure, name: str
    ) -> list[tuple[Value | None, Value | None]]:
        """Score and standard error of each task, in percent."""
        if measure.status(book.bench.out) != "done":
            book.missing[f"general ability, {name}"] = "not measured yet"
        folder, _, file = measure.place.rpartition("/")
        return [
            (
                book.number(folder, file, f"tasks.{task}.score", 100),
                book.number(folder, file, f"tasks.{task}.stderr", 100),
            )
            for task in TASKS
        ]


def _cells(rows: Sequence[tuple[str, list[tuple[Value | None, Value | None]]]]) -> Rows:
    found = []
    for name, scores in rows:
        cells: list[Cell] = [cell(value) for pair in scores for value in pair]
        found.append((name, tuple(cells)))
    return tuple(found)


def _picture(rows: Sequence[tuple[str, list[tuple[Value | None, Value | None]]]]) -> bytes:
    def paint(figure: Any) -> None:
        place = figure.subplots()
        width = 0.85 / len(rows)
        for number, (name, scores) in enumerate(rows):
            at = [task + (number - (len(rows) - 1) / 2) * width for task in range(len(TASKS))]
            heights = [value.number if value else 0.0 for value, _ in scores]
            errors = [error.number if error else 0.0 for _, error in scores]
            colour = BEFORE if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
            hatch = "//" if number > len(COLOURS) else None
            place.bar(
                at,
                heights,
                width,
                yerr=errors,
                color=colour,
                label=name,
                hatch=hatch,
                ecolor="#555555",
            )
        place.set_xticks(range(len(TASKS)), [label(task) for task in TASKS])
        place.tick_params(axis="x", length=0)
        place.set_ylim(0, 105)
        place.set_title("Accuracy and standard error, %")
        figure.legend(loc="outside right upper", fontsize=8)

    return draw(9.0, 3.6, paint)

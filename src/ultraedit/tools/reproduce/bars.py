"""Figures 6 and 9: general ability of the model before and after the edits of each method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ultraedit.report.figures import BEFORE, COLOURS, INK, draw
from ultraedit.tools.reproduce.bench import Bench, Unavailable
from ultraedit.tools.reproduce.book import Book, Value
from ultraedit.tools.reproduce.measuring import Measure, Tasks
from ultraedit.tools.reproduce.names import Wanted, label, row_label
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered, notes
from ultraedit.tools.reproduce.sheet import Cell, Rows, Sheet, cell
from ultraedit.tools.reproduce.steps import Step

TASKS = ("sst2", "mmlu", "mrpc", "nli")

CHANCE = {"sst2": 50.0, "mmlu": 25.0, "mrpc": 50.0, "nli": 50.0}
"""Percent that guessing gets. Nobody guesses a word of ordinary text."""


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
                for tasks in _measured(bench):
                    yield Measure(tasks, model=bench.model(self.model))
                    yield Measure(tasks, run=run)

    def render(self, book: Book) -> Rendered:
        """The figure and its numbers."""
        paper = published(self.id)
        groups = _measured(book.bench)
        names = [name for tasks in groups for name in tasks.names]
        rows: list[tuple[str, list[tuple[Value | None, Value | None]]]] = []
        model = book.bench.model(self.model)
        vanilla = [Measure(tasks, model=model) for tasks in groups]
        rows.append(("Vanilla", self._scores(book, vanilla, "Vanilla")))
        for wanted in self.wanted():
            run = book.run(wanted)
            if run is None:
                found: list[tuple[Value | None, Value | None]] = [(None, None)] * len(names)
            else:
                measures = [Measure(tasks, run=run) for tasks in groups]
                found = self._scores(book, measures, str(wanted))
            untrained = book.bench.untrained(wanted.method)
            rows.append((row_label(wanted.method, untrained=untrained), found))
        sheet = Sheet(
            self.id,
            self.title,
            "Method",
            tuple((label(task), ("accuracy", "s.e.")) for task in names),
            (("", _cells(rows)),),
            paper.source,
            (*paper.notes, *self._asked(book), _chance(), *notes(book, list(self.wanted()))),
        )
        return Rendered(sheet, _picture(names, rows))

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
        self, book: Book, measures: Sequence[Measure], name: str
    ) -> list[tuple[Value | None, Value | None]]:
        """Score and standard error of each task, in percent."""
        found = []
        for measure in measures:
            if measure.status(book.bench.out) != "done":
                book.missing[f"general ability, {name}"] = "not measured yet"
            folder, _, file = measure.place.rpartition("/")
            for task in measure.tasks.names:
                score = book.number(folder, file, f"tasks.{task}.score", 100)
                found.append((score, book.number(folder, file, f"tasks.{task}.stderr", 100)))
        return found


def _measured(bench: Bench) -> list[Tasks]:
    """The paper's tasks, and where they are measured those of ordinary text."""
    reading = bench.reading()
    return [bench.ability(), *([] if reading is None else [reading])]


def _chance() -> str:
    told = (f"{label(task)} {chance:g}" for task, chance in CHANCE.items())
    return f"Guessing gets {', '.join(told)} %; the short lines are drawn there."


def _cells(rows: Sequence[tuple[str, list[tuple[Value | None, Value | None]]]]) -> Rows:
    found = []
    for name, scores in rows:
        cells: list[Cell] = [cell(value) for pair in scores for value in pair]
        found.append((name, tuple(cells)))
    return tuple(found)


def _picture(
    names: Sequence[str], rows: Sequence[tuple[str, list[tuple[Value | None, Value | None]]]]
) -> bytes:
    def paint(figure: Any) -> None:
        place = figure.subplots()
        width = 0.85 / len(rows)
        for number, (name, scores) in enumerate(rows):
            at = [task + (number - (len(rows) - 1) / 2) * width for task in range(len(names))]
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
        for at_task, task in enumerate(names):
            if task in CHANCE:
                ends = (at_task - 0.46, at_task + 0.46)
                place.hlines(CHANCE[task], *ends, color=INK, linestyle="--", linewidth=1)
        place.set_xticks(range(len(names)), [label(task) for task in names])
        place.tick_params(axis="x", length=0)
        place.set_ylim(0, 105)
        place.set_title("Accuracy and standard error, %")
        figure.legend(loc="outside right upper", fontsize=8)

    return draw(9.0, 3.6, paint)

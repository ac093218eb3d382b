"""The tables of scores: 2 to 5 and 7 to 9."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ultraedit.tools.reproduce.bench import Bench
from ultraedit.tools.reproduce.book import Book, Value, mean_of
from ultraedit.tools.reproduce.names import METHODS, METRICS, Wanted, label, row_label
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered, means_of, notes
from ultraedit.tools.reproduce.sheet import Blocks, Cell, Groups, Rows, Sheet, cell
from ultraedit.tools.reproduce.steps import Step

EGS = ("efficacy", "generalization", "specificity")

Columns = tuple[tuple[str, str], ...]
"""Data set and score of each column."""

THREE_SETS: Columns = (
    *(("zsre", metric) for metric in EGS),
    *(("fever", metric) for metric in EGS),
    *(("wikibigedit", metric) for metric in METRICS),
)
BENCH: Columns = tuple(("ultraeditbench", metric) for metric in EGS)


@dataclass(frozen=True)
class ScoreTable:
    """Methods by data sets and scores, for several models."""

    id: str
    title: str
    models: tuple[str, ...]
    methods: tuple[str, ...]
    columns: Columns
    layout: Literal["blocks", "wide", "mean", "models"] = "blocks"
    """A block of rows for each model; models side by side; their mean alone; or models as rows,
    before any edit."""

    delta: bool = False
    """Whether a last row says how far UltraEdit is ahead of the best of the others."""

    def wanted(self) -> Iterator[Wanted]:
        """The runs behind the table."""
        datasets = dict.fromkeys(dataset for dataset, _ in self.columns)
        for model in self.models:
            for dataset in datasets:
                yield from (Wanted(model, method, dataset) for method in self.methods)

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """What has to be done, as far as it was chosen and can be done here."""
        return bench.runs(self.wanted(), chosen)

    def render(self, book: Book) -> Rendered:
        """The table, from what the runs have recorded."""
        paper = published(self.id)
        build = {
            "blocks": self._blocks,
            "wide": self._wide,
            "mean": self._means,
            "models": self._unedited,
        }[self.layout]
        groups, blocks = build(book)
        first = {"models": "Model", "mean": "Variant"}.get(self.layout, "Method")
        sheet = Sheet(
            self.id,
            self.title,
            first,
            groups,
            blocks,
            paper.source,
            (*paper.notes, *self._shared(book), *notes(book, list(self.wanted()))),
        )
        return Rendered(sheet)

    def _groups(self) -> Groups:
        found: dict[str, list[str]] = {}
        for dataset, metric in self.columns:
            found.setdefault(label(dataset), []).append(label(metric))
        return tuple((name, tuple(columns)) for name, columns in found.items())

    def _blocks(self, book: Book) -> tuple[Groups, Blocks]:
        blocks = tuple((label(model), self._rows(book, (model,))) for model in self.models)
        return self._groups(), blocks

    def _wide(self, book: Book) -> tuple[Groups, Blocks]:
        metrics = tuple(label(metric) for _, metric in self.columns)
        groups = tuple((label(model), metrics) for model in self.models)
        return groups, (("", self._rows(book, self.models)),)

    def _rows(self, book: Book, models: tuple[str, ...]) -> Rows:
        places = [(model, *column) for model in models for column in self.columns]
        values = {
            method: [book.score(Wanted(m, method, d), metric) for m, d, metric in places]
            for method in self.methods
        }
        rows = [
            (
                method,
                [
                    cell(value)
                    if book.bench.untrained(method)
                    else self._cell(value, method, *place)
                    for value, place in zip(row, places, strict=True)
                ],
            )
            for method, row in values.items()
        ]
        if self.delta:
            ranked = {name: row for name, row in values.items() if not book.bench.untrained(name)}
            row = [self._delta(i, ranked, *place) for i, place in enumerate(places)]
            rows.append(("delta", row))
        return tuple((self._name(book, method), tuple(cells)) for method, cells in rows)

    def _name(self, book: Book, method: str) -> str:
        """What a row is called."""
        return row_label(method, untrained=method in METHODS and book.bench.untrained(method))

    def _cell(
        self, value: Value | None, method: str, model: str, dataset: str, metric: str
    ) -> Cell:
        keys = {"model": model, "method": method, "dataset": dataset, "metric": metric}
        return cell(value, published(self.id).value(**keys))

    def _delta(
        self,
        place: int,
        values: dict[str, list[Value | None]],
        model: str,
        dataset: str,
        metric: str,
    ) -> Cell:
        """The better of UltraEdit's rows minus the best of the others."""
        ours = [row[place] for name, row in values.items() if name.startswith("ultraedit")]
        theirs = [row[place] for name, row in values.items() if not name.startswith("ultraedit")]
        ahead = None
        present = [value for value in ours if value], [value for value in theirs if value]
        if all(present):
            best, other = (max(side, key=lambda value: value.number) for side in present)
            ahead = Value(best.number - other.number, (*best.sources, *other.sources))
        found = self._cell(ahead, "delta", model, dataset, metric)
        return Cell(found.ours, found.published, found.sources, signed=True)

    def _means(self, book: Book) -> tuple[Groups, Blocks]:
        rows = tuple((label(method), self._mean(book, method)) for method in self.methods)
        return self._groups(), (("", rows),)

    def _shared(self, book: Book) -> Iterator[str]:
        """Where a model stands for several of the paper's, how a mean counts it."""
        if self.layout == "mean":
            yield from means_of(book.bench, self.models)

    def _unedited(self, book: Book) -> tuple[Groups, Blocks]:
        rows = tuple((label(model), self._before(book, model)) for model in self.models)
        return self._groups(), (("", rows),)

    def _mean(self, book: Book, method: str) -> tuple[Cell, ...]:
        """Means over the models that are different ones here."""
        models = book.bench.different(self.models).values()
        return tuple(
            self._cell(
                mean_of([book.score(Wanted(model, method, d), metric) for model in models]),
                method,
                "mean",
                d,
                metric,
            )
            for d, metric in self.columns
        )

    def _before(self, book: Book, model: str) -> tuple[Cell, ...]:
        (method,) = self.methods
        return tuple(
            self._cell(
                book.score(Wanted(model, method, dataset), metric, when="before"),
                "unedited",
                model,
                dataset,
                metric,
            )
            for dataset, metric in self.columns
        )

"""A table or figure of the paper: which runs it is of, and how its results are laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from ultraedit.tools.reproduce.environment import Environment, Unavailable
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.notes import notes
from ultraedit.tools.reproduce.published import NOT_PUBLISHED, published
from ultraedit.tools.reproduce.records import RunRecords
from ultraedit.tools.reproduce.result_table import Rendered, Result, ResultTable
from ultraedit.tools.reproduce.steps import Run, Step


@dataclass(frozen=True)
class Panel:
    """The runs behind a table, or behind a panel of a figure, and what is shown of them."""

    models: tuple[str, ...]
    methods: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    """Data sets, and of each a score or ``memory``."""
    title: str = ""

    def wanted(self) -> Iterator[Wanted]:
        """The runs."""
        for model in self.models:
            for dataset in dict.fromkeys(dataset for dataset, _ in self.columns):
                yield from (Wanted(model, method, dataset) for method in self.methods)


class Content(NamedTuple):
    """What the records give for a table or figure."""

    results: Sequence[Result]
    remarks: Sequence[str] = ()
    """What has to be known of this one, beside the notes that all have."""
    image: bytes | None = None
    """The figure as a PNG."""


def _run(plan: Artifact, environment: Environment, wanted: Wanted) -> Iterator[Step]:
    yield environment.run(wanted)


@dataclass(frozen=True)
class Artifact:
    """A table or figure, as a row of the catalog."""

    id: str
    """Such as ``table2``."""
    title: str
    content: Callable[[Artifact, RunRecords], Content]
    """What is measured, and what is drawn of it."""
    panels: tuple[Panel, ...] = ()
    first: str = "Method"
    """Heading of the first column."""
    layout: tuple[str, str, str] = ("model", "method", "dataset")
    """What the blocks, the rows and the groups of columns of a table of scores are; blocks may be
    nothing. Without models it is of their mean, without methods of the unedited model."""
    delta: bool = False
    """Whether a last row says how far UltraEdit is ahead of the best of the others."""
    scatter: bool = False
    """Whether a first panel shows efficacy against editing time, as Figure 1 (a)."""
    of: Callable[[Artifact, Environment, Wanted], Iterator[Step]] = _run
    """The steps behind each of its runs."""
    printed: bool = True
    """Whether the paper has it."""

    def wanted(self) -> Iterator[Wanted]:
        """The runs behind it, in the paper's words, each once."""
        yield from dict.fromkeys(each for panel in self.panels for each in panel.wanted())

    def steps(self, environment: Environment, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """What has to be done for the runs that were chosen, as far as it can be done here."""
        for wanted in self.wanted():
            if wanted in chosen:
                with suppress(Unavailable):
                    yield from self.of(self, environment, wanted)

    def run(self, records: RunRecords, wanted: Wanted) -> Run | None:
        """The finished run behind a result; None, with a note of why, where there is none."""

        def find(wanted: Wanted) -> Run:
            steps = self.of(self, records.environment, wanted)
            return next(step for step in steps if isinstance(step, Run))

        return records.finished(wanted, find)

    def render(self, records: RunRecords) -> Rendered:
        """It, from the records that there are."""
        paper = published(self.id) if self.printed else NOT_PUBLISHED
        results, remarks, image = self.content(self, records)
        wanted = list(self.wanted())
        told = [*paper.notes, *remarks]
        if wanted:
            told += notes(records, wanted, lambda each: self.run(records, each))
        result_table = ResultTable(
            self.id, self.title, self.first, tuple(results), paper.source, tuple(told)
        )
        return Rendered(result_table, image)

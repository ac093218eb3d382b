"""Table 1: what each kind of method needs, and whether it lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ultraedit.editors import EDITORS
from ultraedit.tools.reproduce.bench import Bench
from ultraedit.tools.reproduce.book import Book, Source
from ultraedit.tools.reproduce.names import METHODS, Wanted
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered, notes
from ultraedit.tools.reproduce.sheet import Cell, Sheet
from ultraedit.tools.reproduce.steps import Step

KEPT = 0.8
"""Share of its efficacy at the first checkpoint that a method keeps to the last, if it lasts."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "Locate-then-edit": ("memit", "alphaedit"),
    "Memory-based": ("wise",),
    "Hypernetwork-based": ("malmen", "rledit"),
    "UltraEdit": ("ultraedit",),
}
"""The methods that stand for each kind."""

PROPERTIES: Mapping[str, str] = {
    "training-free": "Training-free",
    "subject-free": "Subject-free",
    "memory-free": "Memory-free",
    "lifelong": "Lifelong scalability",
}

_MARKS = {"yes": "✓", "no": "✗", "": None}


@dataclass(frozen=True)
class KindsTable:
    """What the table of editors says, and what the runs of Figure 7 show."""

    id: str
    title: str
    model: str = "llama-3"
    dataset: str = "zsre"

    def wanted(self) -> Iterator[Wanted]:
        """A run of every method of a kind."""
        for methods in KINDS.values():
            yield from (Wanted(self.model, method, self.dataset) for method in methods)

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """What has to be done, as far as it was chosen and can be done here."""
        return bench.runs(self.wanted(), chosen)

    def render(self, book: Book) -> Rendered:
        """The table, from the editors and from what the runs have recorded."""
        paper = published(self.id)
        theirs = {(row["solution"], row["property"]): _MARKS[row["mark"]] for row in paper.rows}
        rows = tuple(
            (kind, tuple(self._cell(book, kind, name, theirs[kind, name]) for name in PROPERTIES))
            for kind in KINDS
        )
        told = (
            "The first three are what the editors say that they need (`ultraedit editors list`).",
            f"Lifelong scalability: a method of the kind keeps at least {KEPT:.0%} of the efficacy "
            "of its first checkpoint to the last, and is above the unedited model there.",
        )
        sheet = Sheet(
            self.id,
            self.title,
            "Solution",
            (("", tuple(PROPERTIES.values())),),
            (("", rows),),
            paper.source,
            (*paper.notes, *told, *notes(book, list(self.wanted()))),
        )
        return Rendered(sheet)

    def _cell(self, book: Book, kind: str, name: str, theirs: str | None) -> Cell:
        if name == "lifelong":
            return self._lasts(book, kind, theirs)
        editors = [METHODS[method].editor for method in KINDS[kind]]
        here = [EDITORS[editor] for editor in editors if editor in EDITORS]
        if not here:
            return Cell(None, theirs)
        needs = {
            "training-free": any(row.needs_training for row in here),
            "subject-free": any(row.needs_subject for row in here),
            "memory-free": any("memory" in row.family for row in here),
        }[name]
        sources = tuple(Source("editors", row.target, name) for row in here)
        return Cell("✗" if needs else "✓", theirs, sources)

    def _lasts(self, book: Book, kind: str, theirs: str | None) -> Cell:
        found, sources = [], []
        for method in KINDS[kind]:
            if book.bench.untrained(method):  # it says nothing of the method
                continue
            wanted = Wanted(self.model, method, self.dataset)
            curve = book.curve(wanted, "efficacy")
            before = book.score(wanted, "efficacy", when="before")
            if curve and before is not None:
                first, last = curve[0].value, curve[-1].value
                lasts = last.number >= KEPT * first.number and last.number > before.number
                found.append(lasts)
                sources += [*first.sources, *last.sources, *before.sources]
        if not found:
            return Cell(None, theirs)
        return Cell("✓" if any(found) else "✗", theirs, tuple(sources))

"""Table 10: single questions, answered freely before and after the edits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ultraedit.tools.reproduce.bench import Bench, Unavailable
from ultraedit.tools.reproduce.book import Book, Source
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered, notes
from ultraedit.tools.reproduce.sheet import Cell, Sheet
from ultraedit.tools.reproduce.steps import Run, Step

NOTHING = "(nothing)"
"""What stands for an empty answer."""

_MARKS = {"yes": "✓", "no": "✗"}


@dataclass(frozen=True)
class CasesTable:
    """The paper's own questions, edited among other facts and asked freely."""

    id: str
    title: str
    model: str = "llama-3"
    dataset: str = "ultraeditbench"

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self.model, "ultraedit", self.dataset)

    def wanted(self) -> Iterator[Wanted]:
        """One run."""
        yield self._wanted

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """What has to be done, if it was chosen and can be done here."""
        if self._wanted in chosen:
            try:
                yield self._run(bench)
            except Unavailable:
                return

    def render(self, book: Book) -> Rendered:
        """The table, from the free answers of the run."""
        paper = published(self.id)
        answers = self._answers(book)
        rows = []
        for row in paper.rows:
            number, answer = answers.get(row["prompt"], (0, None))
            mark = _MARKS[row["correct"]]
            theirs = (row["before"], row["target"], f"{row['after']} {mark}")
            if answer is None:
                cells = tuple(Cell(None, text) for text in theirs)
            else:
                tick = "✓" if answer["correct"] else "✗"
                before, after = (answer[name] or NOTHING for name in ("before", "after"))
                ours = (before, answer["target"], f"{after} {tick}")
                fields = ("before", "target", "after")
                cells = tuple(
                    Cell(one, other, (Source(answer["run"], "answers.jsonl", f"{number}:{field}"),))
                    for one, other, field in zip(ours, theirs, fields, strict=True)
                )
            rows.append((row["prompt"], cells))
        sheet = Sheet(
            self.id,
            self.title,
            "Prompt",
            (("", ("Pre-edited output", "Ground truth", "Post-edited output")),),
            (("", tuple(rows)),),
            paper.source,
            (
                *paper.notes,
                "The paper's questions are edited here, spread among the facts of the data set.",
                *notes(book, self.wanted(), lambda _: self._finished(book)),
            ),
        )
        return Rendered(sheet)

    def _run(self, bench: Bench) -> Run:
        cases = tuple((row["prompt"], row["target"]) for row in published(self.id).rows)
        return bench.cases(self._wanted, cases)

    def _answers(self, book: Book) -> dict[str, tuple[int, dict[str, str]]]:
        """The free answers to the edits, by prompt, with the lines that they stand in."""
        run = self._finished(book)
        if run is None:
            return {}
        return {
            row["prompt"]: (number, row | {"run": run.place})
            for number, row in book.lines(run, "answers.jsonl")
            if row["kind"] == "efficacy"
        }

    def _finished(self, book: Book) -> Run | None:
        """The run; None, with a note of why, where there is none."""
        name = str(self._wanted)
        try:
            run = self._run(book.bench)
        except Unavailable as error:
            book.missing[name] = str(error)
            return None
        return run if book.is_done(run, name) else None

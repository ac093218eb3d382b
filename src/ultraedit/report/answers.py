"""What the model said: the sections of examples, and of the edits that went best and worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ultraedit.core.types import Answer
from ultraedit.report.blocks import (
    Block,
    Code,
    Emphasis,
    Heading,
    Line,
    Paragraph,
    Table,
    Verdict,
    said,
)
from ultraedit.report.cases import Case, Cases

_NOT_ASKED = Paragraph("The model was not asked freely.")


def examples_section(answers: Sequence[Answer]) -> Iterator[Block]:
    """Answers of every kind.

    Args:
        answers: Those to show.
    """
    yield Heading("Examples")
    if not answers:
        yield _NOT_ASKED
        return
    yield Paragraph(
        (
            "Right and wrong answers of every kind in turn, evenly spaced over the run: how many "
            "are right here says nothing. All of them are in ",
            Code("answers.jsonl"),
            ".",
        )
    )
    rows = [[answer.kind, *_texts(answer), Verdict(answer.correct)] for answer in answers]
    yield Table(["kind", "question", "wanted", "before", "after", ""], rows, "llllll")


def cases_section(cases: Cases) -> Iterator[Block]:
    """The edits that went best, those that went worst, and some drawn at random."""
    if not cases.drawn:
        return
    yield Heading("Cases")
    yield Paragraph(
        "Of the edits that were asked freely. Those go best whose own question is answered right, "
        "and then most of their rephrases, unrelated questions and probes; among equals, those "
        "that the unedited model did not know. Ties are broken by lot, the same lot every time."
    )
    for name, chosen in zip(("Best", "Worst", "Drawn at random"), cases, strict=True):
        yield Heading(name, 3)
        yield Table(
            ["question", "wanted", "before", "after", "", "right in all"],
            [_row(case) for case in chosen],
            "lllllr",
        )


def _row(case: Case) -> list[Line]:
    answer = case.answer
    return [*_texts(answer), Verdict(answer.correct), f"{case.right} of {case.asked}"]


def _texts(answer: Answer) -> list[Line]:
    """Question, wanted answer, and the answers before and after."""
    return [
        said(answer.prompt),
        said(answer.target) if answer.target else Emphasis("as before"),
        said(answer.before) or Emphasis("nothing"),
        said(answer.after) or Emphasis("nothing"),
    ]

"""What the page says of probes, and of where free answers end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ultraedit.evaluation.metrics import METRICS
from ultraedit.report.blocks import Block, Paragraph, Table
from ultraedit.report.formats import format_percent
from ultraedit.report.reading import Point
from ultraedit.report.scores import ScoreRow, is_controls, label, metric_of

_PROBES = {
    "chat": "the same questions inside the model's own chat template",
    "few-shot": "the same questions behind examples, which are unrelated questions with answers",
    "reverse": "asked backwards, the edit's subject is the answer",
    "affirmed": "the fact as a statement is ended with its new answer, all of it",
    "negated": "the negated statement is ended with it too, which is wrong; lower is better",
}
"""By the first word of a row's name."""


def meanings(names: Sequence[str]) -> list[str]:
    """What the rows of a table of scores mean.

    Args:
        names: Names of the rows.
    """
    probes = [name for name in names if metric_of(name) is None and not is_controls(name)]
    found = dict.fromkeys(name.partition(" ")[0] for name in probes)
    said = [f"{metric.title}: {metric.meaning}." for metric in METRICS.values()]
    said += [
        f"{name}: questions of the package that have nothing to do with any edit, against the "
        "unedited model's own short answers."
        for name in names
        if is_controls(name)
    ]
    said += [f"{word}: {meaning}." for word, meaning in _PROBES.items() if word in found]
    if any(word not in _PROBES for word in found):
        said.append("the others: further questions of the data, by their name in it.")
    return said


def endings(rows: Sequence[ScoreRow]) -> Iterator[Block]:
    """Whether free answers stop after the target, where any was scored for it."""
    ended = [row for row in rows if row.begins is not None]
    if not ended:
        return
    yield Paragraph(
        "Where the free answers end, after the edits: those that begin with the target, whatever "
        "follows; exact matches, which end a sentence or the line there; and those that stop, with "
        "nothing behind the target up to the end of the text or line."
    )
    shares = [(row.name, row.begins, row.generated_after, row.stops) for row in ended]
    yield Table(
        ["metric", "begin with it", "exact match", "stop"],
        [[name, *map(format_percent, each)] for name, *each in shares],
        "lrrr",
    )


def probes_over_the_run(points: Sequence[Point]) -> Iterator[Block]:
    """The probes at every checkpoint, where there are any."""
    scores = [point.scores.get("probes") or {} for point in points]
    names = list(dict.fromkeys(name for each in scores for name in each))
    if not names:
        return
    yield Paragraph("Probes, teacher-forced:")
    rows = [
        [f"{point.edits:,}", *(format_percent(each.get(name)) for name in names)]
        for point, each in zip(points, scores, strict=True)
    ]
    yield Table(["edits made", *map(label, names)], rows, "r" * (1 + len(names)))

"""The top of the page of a run: what was done, how it went, and what a reader has to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ultraedit.evaluation.metrics import METRICS
from ultraedit.report.blocks import Block, Code, Heading, Number, Numbers, Paragraph, Warned, plain
from ultraedit.report.formats import (
    MISSING,
    format_bytes,
    format_count,
    format_number,
    format_percent,
)
from ultraedit.report.reading import FinishedRun
from ultraedit.report.scores import ScoreRow, is_controls, metric_of

_GUARD = "guard"
"""The remark that nobody should miss."""


def headline(run: FinishedRun, rows: Sequence[ScoreRow]) -> Iterator[Block]:
    """The title, what was done, the figures that matter most, and the notes.

    Args:
        run: The finished run.
        rows: Its scores.
    """
    summary, resolved = run.summary, run.summary["resolved"]
    edits = format_count(summary["edits"], "edit")
    yield Heading(title(run), 1)
    yield Paragraph(
        lead=(
            f"{plain(summary['editor'])} made {edits} in {format_count(summary['turns'], 'turn')} "
            "to ",
            Code(summary["model"]),
            " with the facts of ",
            Code(summary["data"]),
            f", in {resolved['dtype']} on {resolved['device']}.",
        ),
        line="",
    )
    if verdict := summary.get("verdict"):
        yield Paragraph(f" {plain(verdict['text'])}", lead="Verdict:")
    yield Numbers(list(_numbers(summary, rows)), _sentence(summary, rows))
    if guard := summary.get("remarks", {}).get(_GUARD):
        yield Warned(f"the guard has ended this run: {guard}.")
    yield from map(Paragraph, _notes(run))


def title(run: FinishedRun) -> str:
    """The title of the page."""
    summary = run.summary
    edits = format_count(summary["edits"], "edit")
    return f"{plain(summary['editor'])}: {edits} of {plain(summary['model'])}"


def _sentence(summary: dict[str, Any], rows: Sequence[ScoreRow]) -> str:
    """Free answers first: they are what a user of the model gets."""
    # Agreement with the unedited model starts at 100 % and is no gain.
    gains = {metric.title for metric in METRICS.values() if not metric.against_unedited}
    shown = [row for row in rows if row.name in gains]
    free = [
        f"{row.name} {format_percent(row.generated_before)} to "
        f"{format_percent(row.generated_after)}"
        for row in shown
        if row.generated
    ]
    forced = [
        f"{row.name} {format_percent(row.forced_before)} to {format_percent(row.forced_after)}"
        for row in shown
        if row.forced
    ]
    said = f"Free answers, before and after: {', '.join(free)}. " if free else ""
    return (
        f"{said}Teacher-forced, before and after: {', '.join(forced) or MISSING}. "
        f"{format_number(summary['edits_per_second'])} edits per second, peak memory "
        f"{format_bytes(summary['peak_memory_bytes'])}."
    )


def _numbers(summary: dict[str, Any], rows: Sequence[ScoreRow]) -> Iterator[Number]:
    shown = [row for row in rows if metric_of(row.name) or is_controls(row.name)]
    for row in shown:
        if row.generated:
            yield _score(f"{row.name}, free answers", row.generated_before, row.generated_after)
    for row in shown:
        if row.forced:
            yield _score(f"{row.name}, teacher-forced", row.forced_before, row.forced_after)
    after = summary["after"].get("perplexity")
    if after is not None:
        before = summary["before"].get("perplexity")
        note = "" if before is None else f"{format_number(before)} before"
        yield Number("perplexity on the text", format_number(after), note)
    yield Number("edits per second", format_number(summary["edits_per_second"]))
    yield Number("peak memory", format_bytes(summary["peak_memory_bytes"]))


def _score(label: str, before: float | None, after: float | None) -> Number:
    return Number(label, format_percent(after), f"{format_percent(before)} before")


def _notes(run: FinishedRun) -> Iterator[str]:
    """What a reader of the numbers has to know, where it happened."""
    overruled, settings = run.summary["overruled"], run.config["settings"]
    if overruled:
        were = "edit was" if overruled == 1 else "edits were"
        yield (
            f"Note: {overruled:,} {were} overruled by a later edit of the same prompt, and "
            "scored against the newest answer."
        )
    last, whole = (run.history.edits or [0])[-1], settings["edits_per_turn"]
    if last < whole:
        which = "last" if len(run.history.edits) > 1 else "only"
        yield (
            f"Note: the {which} turn was short, with {format_count(last, 'edit')} where "
            f"{whole:,} make a turn. It was run like any other."
        )
    for name, remark in run.summary.get("remarks", {}).items():
        if name != _GUARD:
            yield f"Note: {name}: {remark}."
    yield from _notes_on_scores(run)


def _notes_on_scores(run: FinishedRun) -> Iterator[str]:
    """Of which edits the scores are, where these are not all."""
    settings = run.config["settings"]
    scored, sample = run.summary.get("scored", 0), settings.get("score_sample")
    if sample is not None and scored < run.summary["edits"]:
        yield (
            f"Note: scores are of a sample of {format_count(scored, 'edit')}, drawn before the "
            "run; on the way, of those of them that had been made."
        )
    asked = settings.get("free_answers")
    asked_of = scored if sample is not None else run.summary["edits"]
    if asked is not None and 0 < asked < asked_of:
        yield (
            f"Note: {asked:,} of the {format_count(asked_of, 'edit')}, evenly spaced, "
            "were also asked freely; exact match is over these."
        )

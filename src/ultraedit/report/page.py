"""The page of a run: what was done, how it went, what it cost and how to do it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ultraedit.core.types import Answer
from ultraedit.evaluation.metrics import ALONE, forgetting_curve, retention
from ultraedit.report.answers import cases_section, examples_section
from ultraedit.report.blocks import Block, Bullets, Code, Heading, Line, Paragraph, Picture, Table
from ultraedit.report.cases import Cases
from ultraedit.report.curve_plot import draw_curves
from ultraedit.report.formats import (
    format_bytes,
    format_change,
    format_count,
    format_number,
    format_percent,
    format_seconds,
)
from ultraedit.report.headline import headline
from ultraedit.report.monitors import watched
from ultraedit.report.norm_plot import draw_norms
from ultraedit.report.plots import draw_metrics, draw_speed_and_memory
from ultraedit.report.probes import endings, meanings, probes_over_the_run
from ultraedit.report.reading import FinishedRun, History
from ultraedit.report.retention_plot import draw_retention
from ultraedit.report.scores import METRICS, ScoreRow, controls_label, label, perplexity_line
from ultraedit.report.settings import settled

PLOTS = ("metrics.png", "speed_memory.png", "norms.png")
"""File names of the plots that every run has."""

CURVES = "curves.png"
RETENTION = "retention.png"
"""The plots of runs that were scored after several turns."""


def page(
    run: FinishedRun, rows: Sequence[ScoreRow], answers: Sequence[Answer], cases: Cases
) -> Iterator[Block]:
    """Compose the whole page, for Markdown and HTML alike.

    Args:
        run: The finished run.
        rows: Its scores.
        answers: The examples to show.
        cases: The edits to show.
    """
    yield from headline(run, rows)
    yield from _scores(run, rows)
    yield from _curves(run)
    yield from _retention(run)
    yield from _costs(run)
    yield from _norms(run)
    yield from watched(run.history.seen)
    yield from examples_section(answers)
    yield from cases_section(cases)
    yield from settled(run)


def scored_again(history: History) -> bool:
    """Whether edits were scored both soon after they were made and later."""
    return len({scored.turn for scored in history.efficacy} - {0}) > 1


def _scores(run: FinishedRun, rows: Sequence[ScoreRow]) -> Iterator[Block]:
    """The scores before and after; free answers, which a user gets, stand first."""
    yield Heading("Scores")
    forced = [_change(row.forced_before, row.forced_after) for row in rows]
    header = ["before", "after", "change"]
    freely = any(row.generated for row in rows)
    if freely:
        free = [_change(row.generated_before, row.generated_after) for row in rows]
        names = [f"{way} {name}" for way in ("free", "forced") for name in header]
        cells = [left + right for left, right in zip(free, forced, strict=True)]
    else:
        names, cells = header, forced
    lines = [[row.name, *each] for row, each in zip(rows, cells, strict=True)]
    yield Table(["metric", *names], lines, "l" + "r" * len(names))
    if freely:
        yield Paragraph(
            (
                "Under ",
                Code("free"),
                ", exact match of greedy answers; under ",
                Code("forced"),
                ", teacher-forced token accuracy, as the paper scores. Changes are in percentage "
                "points.",
            )
        )
    else:
        yield Paragraph(
            "The model was not asked freely. Teacher-forced token accuracy, as the paper scores. "
            "Changes are in percentage points."
        )
    yield Bullets(meanings([row.name for row in rows]))
    yield from endings(rows)
    if line := perplexity_line(run.summary):
        yield Paragraph(line)
    yield Picture(PLOTS[0], "Scores before and after the edits", lambda: draw_metrics(rows))


def _change(before: float | None, after: float | None) -> list[str]:
    return [format_percent(before), format_percent(after), format_change(before, after)]


def _curves(run: FinishedRun) -> Iterator[Block]:
    """The scores on the way, where there are any."""
    points = run.history.points
    if len(points) < 2:
        return
    yield Heading("Over the run")
    newest = points[-1].newest is not None
    controls = [(point.controls or {}).get("agreement") for point in points]
    asked = max((point.controls or {}).get("questions", 0) for point in points)
    header = ["edits made", "scored", *map(label, METRICS)]
    header += [f"newest {label(name)}" for name in ALONE] if newest else []
    read = points[-1].scores.get("perplexity") is not None
    header += ["perplexity"] if read else []
    header += [controls_label(asked)] if asked else []
    rows = []
    for point, control in zip(points, controls, strict=True):
        scores = [point.scores.get(name) for name in METRICS]
        if newest:
            scores += [(point.newest or {}).get(name) for name in ALONE]
        cells = [f"{point.edits:,}", f"{point.scored:,}"]
        cells += [format_percent(score) for score in scores]
        cells += [format_number(point.scores.get("perplexity"))] if read else []
        cells += [format_percent(control)] if asked else []
        rows.append(cells)
    yield Table(header, rows, "r" * len(header))
    yield from probes_over_the_run(points)
    yield Picture(CURVES, "Scores over the edits made", lambda: draw_curves(points))


def _retention(run: FinishedRun) -> Iterator[Block]:
    """How the edits hold, where that was looked at more than once."""
    if not scored_again(run.history):
        return
    matrix = retention(run.history.efficacy)
    curve = forgetting_curve(matrix)
    young, old = curve[0], curve[-1]
    yield Heading("Retention")
    yield Paragraph(
        "Efficacy by the turn in which an edit was made and the turn after which it was asked, "
        f"and by its age: {format_percent(young.score)} {_age(young.age)}, "
        f"{format_percent(old.score)} {_age(old.age)}. Turn 0 is the unedited model."
    )
    yield Picture(RETENTION, "Efficacy by turn and by age", lambda: draw_retention(matrix))


def _age(turns: int) -> str:
    return f"{format_count(turns, 'turn')} after the edit" if turns else "right after the edit"


def _costs(run: FinishedRun) -> Iterator[Block]:
    summary = run.summary
    on_gpu = summary["resolved"]["device"].startswith("cuda")
    memory = "allocated on the GPU" if on_gpu else "resident, of the whole process"
    rows = [
        ["edits", f"{summary['edits']:,} in {format_count(summary['turns'], 'turn')}"],
        ["editing", format_seconds(summary["edit_seconds"])],
        ["edits per second", format_number(summary["edits_per_second"])],
        ["evaluation, before and after", format_seconds(run.history.evaluation_seconds)],
        ["peak memory", f"{format_bytes(summary['peak_memory_bytes'])}, {memory}"],
    ]
    yield Heading("Speed and memory")
    yield Table(["", ""], rows, "ll")
    yield Picture(
        PLOTS[1],
        "Edits per second and peak memory over the turns",
        lambda: draw_speed_and_memory(run.history),
    )


def _norms(run: FinishedRun) -> Iterator[Block]:
    yield Heading("Weight changes")
    yield Paragraph(
        "Size of the accumulated change of each edited weight against that of the unedited "
        "weight, ‖ΔW‖ / ‖W‖ in the Frobenius norm, after the last turn."
    )
    rows: list[list[Line]] = [
        [Code(path), f"{format_number(100 * norms[-1])}%"]
        for path, norms in run.history.norms.items()
    ]
    if rows:
        yield Table(["module", "‖ΔW‖ / ‖W‖"], rows, "lr")
    else:
        yield Paragraph("No weight was changed.")
    yield Picture(PLOTS[2], "Weight changes over the turns", lambda: draw_norms(run.history))

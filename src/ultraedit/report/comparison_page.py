"""The page that shows several runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ultraedit.report.blocks import (
    Block,
    Bullets,
    Code,
    Heading,
    Line,
    Paragraph,
    Picture,
    Table,
    Warned,
    plain,
)
from ultraedit.report.comparison import Compared, Comparison, Figures
from ultraedit.report.comparison_plot import draw_costs, draw_overlay
from ultraedit.report.formats import (
    MISSING,
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_seconds,
)
from ultraedit.report.scores import METRICS, label
from ultraedit.report.settings import value_of

_MEANINGS = {
    "free": "exact match of greedy answers",
    "stops": "answers with nothing behind the target",
    "forced": "teacher-forced token accuracy",
}
"""What a score is a share of, by the first word of its row."""

_COSTS = ("perplexity", "time of 100 edits", "peak memory")


def comparison_page(comparison: Comparison, stem: str) -> Iterator[Block]:
    """Compose the page, for Markdown and HTML alike.

    Args:
        comparison: The runs.
        stem: What the file names of its plots begin with.
    """
    runs = comparison.runs
    summary = runs[0].run.summary
    yield Heading(f"{format_count(len(runs), 'run')} side by side", 1)
    yield Paragraph(
        lead=("Facts of ", Code(summary["data"]), " written into ", Code(summary["model"]), "."),
        line="",
    )
    yield from map(Warned, comparison.warnings)
    yield Heading("After the edits")
    yield _figures(comparison)
    yield Paragraph(tuple(_meanings(runs)))
    yield from _ability(comparison)
    yield Heading("Settings that differ")
    yield from _settings(comparison)
    yield Heading("Over the runs")
    if any(len(each.run.history.points) < 2 for each in runs):
        yield Paragraph(
            "A run that was scored at its end alone has a line from the unedited model to there."
        )
    alt = "Scores over the edits made, a line for each run"
    yield Picture(f"{stem}-scores.png", alt, lambda: draw_overlay(runs))
    alt = "Time of 100 edits and peak memory over the edits made, a line for each run"
    yield Picture(f"{stem}-costs.png", alt, lambda: draw_costs(runs))
    yield Heading("The runs")
    yield Bullets([_where(each) for each in runs])


def _sides(figures: Figures) -> dict[str, Mapping[str, float | None]]:
    """The scores of a run by the first word of their rows."""
    return {"free": figures.free, "stops": figures.stops, "forced": figures.forced}


def _meanings(runs: Sequence[Compared]) -> Iterator[str | Code]:
    """A sentence on the scores that stand in the table."""
    scored = [_sides(each.figures) for each in runs]
    shown = [
        name
        for name in _MEANINGS
        if any(score is not None for sides in scored for score in sides[name].values())
    ]
    for number, name in enumerate(shown):
        yield "; under " if number else "Under "
        yield Code(name)
        yield f", {_MEANINGS[name]}"
    yield ". The time leaves evaluation out." if shown else "The time leaves evaluation out."


def _cells(figures: Figures, names: Sequence[str]) -> dict[str, str]:
    """What a table says of one run, by the names of its rows.

    Args:
        figures: Of the run.
        names: Metrics and probes that any run has.
    """
    scores = {
        f"{way} {label(name)}": format_percent(side.get(name))
        for way, side in _sides(figures).items()
        for name in names
    }
    perplexity = format_number(figures.perplexity)
    if figures.perplexity is not None and figures.perplexity_before is not None:
        perplexity += f" (before {format_number(figures.perplexity_before)})"
    costs = (
        perplexity,
        format_seconds(figures.seconds_per_100),
        format_bytes(figures.peak_memory_bytes),
    )
    return {"edits": f"{figures.edits:,}"} | scores | dict(zip(_COSTS, costs, strict=True))


def measured(comparison: Comparison) -> list[list[str]]:
    """The table of figures: a row for each that any run has, with its name and a cell a run."""
    known = dict.fromkeys(METRICS)
    for each in comparison.runs:
        known |= dict.fromkeys([*each.figures.free, *each.figures.forced])
    cells = [_cells(each.figures, list(known)) for each in comparison.runs]
    rows = [[name, *(each[name] for each in cells)] for name in cells[0]]
    return [row for row in rows if any(cell != MISSING for cell in row[1:])]


def _figures(comparison: Comparison) -> Table:
    names = [each.name for each in comparison.runs]
    return Table(["", *names], measured(comparison), "l" + "r" * len(names))


def _ability(comparison: Comparison) -> Iterator[Block]:
    tasks = list(dict.fromkeys(task for each in comparison.runs for task in each.figures.ability))
    if tasks:
        yield Paragraph("General ability after the edits, right answers:")
        runs = comparison.runs
        rows = [
            [task, *(format_percent(each.figures.ability.get(task)) for each in runs)]
            for task in tasks
        ]
        yield Table(["task", *(each.name for each in runs)], rows, "l" + "r" * len(runs))


def _settings(comparison: Comparison) -> Iterator[Block]:
    differing = comparison.settings()
    if not differing:
        yield Paragraph("None: the runs were made with the same settings.")
        return
    rows = [[name, *map(setting, values)] for name, values in differing.items()]
    names = [each.name for each in comparison.runs]
    yield Table(["setting", *names], rows, "l" * (1 + len(names)))


def setting(value: Any) -> Line:
    """A setting as a cell, a list as its items."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or MISSING
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or MISSING
    return value_of(value)


def _where(each: Compared) -> Line:
    summary = each.run.summary
    turns = format_count(summary["turns"], "turn")
    return (
        f"{each.name}: {plain(summary['editor'])}, {format_count(summary['edits'], 'edit')} in "
        f"{turns}, in ",
        Code(str(each.run.folder)),
    )

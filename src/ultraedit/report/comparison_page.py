"""The page that shows several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ultraedit.report import plots
from ultraedit.report.comparison import Compared, Comparison, Figures
from ultraedit.report.formats import (
    MISSING,
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_seconds,
    short_path,
)
from ultraedit.report.html import Page
from ultraedit.report.markdown import Markdown, code, link, table
from ultraedit.report.scores import METRICS, label

_MEANINGS = {
    "free": "exact match of greedy answers",
    "stops": "answers with nothing behind the target",
    "forced": "teacher-forced token accuracy",
}
"""What a score is a share of, by the first word of its row."""


def comparison_page(comparison: Comparison, stem: str) -> Page:
    """What the template ``comparison.md.j2`` shows.

    Args:
        comparison: The runs.
        stem: What the file names of its plots begin with.
    """
    runs, names = comparison.runs, [each.name for each in comparison.runs]
    summary = runs[0].run.summary
    settings = [[name, *map(_cell, each)] for name, each in comparison.settings().items()]
    scores, costs = f"{stem}-scores.png", f"{stem}-costs.png"
    tasks = dict.fromkeys(task for each in runs for task in each.figures.ability)
    ability = [
        [task, *(format_percent(each.figures.ability.get(task)) for each in runs)] for task in tasks
    ]
    align = "l" + "r" * len(names)
    values = {
        "title": f"{format_count(len(runs), 'run')} side by side",
        "data": summary["data"],
        "model": summary["model"],
        "warnings": comparison.warnings,
        "figures": table(["", *names], measured(comparison), align),
        "meanings": _meanings(runs),
        "ability": ability and table(["task", *names], ability, align),
        "settings": settings and table(["setting", *names], settings, "l" * len(align)),
        "ends": any(len(each.run.history.points) < 2 for each in runs),
        "scores_plot": link(scores),
        "costs_plot": link(costs),
        "runs": [(_what(each), str(each.run.folder)) for each in runs],
    }
    pictures = {
        scores: lambda: plots.draw_overlay(runs),
        costs: lambda: plots.draw_costs(runs),
    }
    return Page("comparison.md.j2", values, pictures)


def _sides(figures: Figures) -> dict[str, Mapping[str, float | None]]:
    """The scores of a run by the first word of their rows."""
    return {"free": figures.free, "stops": figures.stops, "forced": figures.forced}


def _meanings(runs: Sequence[Compared]) -> Markdown:
    """A sentence on the scores that stand in the table."""
    scored = [_sides(each.figures) for each in runs]
    texts = [
        f"under {code(name)}, {meaning}"
        for name, meaning in _MEANINGS.items()
        if any(score is not None for sides in scored for score in sides[name].values())
    ]
    return Markdown(f"U{'; '.join(texts)[1:]}. " if texts else "")


def measured(comparison: Comparison) -> list[list[str]]:
    """The table of figures: a row for each that any run has, with its name and a cell a run."""
    known = dict.fromkeys(METRICS)
    for each in comparison.runs:
        known |= dict.fromkeys([*each.figures.free, *each.figures.forced])
    cells = [_cells(each.figures, list(known)) for each in comparison.runs]
    rows = [[name, *(each[name] for each in cells)] for name in cells[0]]
    return [row for row in rows if any(cell != MISSING for cell in row[1:])]


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
    return {
        "edits": f"{figures.edits:,}",
        **scores,
        "perplexity": perplexity,
        "time of 100 edits": format_seconds(figures.seconds_per_100),
        "peak memory": format_bytes(figures.peak_memory_bytes),
    }


def setting(value: Any) -> str:
    """A setting as text, a list as its items."""
    if value is None or value in ([], {}):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)


def _cell(value: Any) -> str:
    return setting(value) if isinstance(value, bool | list | dict | None) else code(str(value))


def _what(each: Compared) -> str:
    summary = each.run.summary
    edits, turns = format_count(summary["edits"], "edit"), format_count(summary["turns"], "turn")
    return f"{each.name}: {short_path(summary['editor'])}, {edits} in {turns}"

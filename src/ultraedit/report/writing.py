"""Write the report into a run folder."""

from __future__ import annotations

from pathlib import Path

from ultraedit.files import write_bytes, write_text
from ultraedit.metrics import retention
from ultraedit.report.curve_plot import draw_curves
from ultraedit.report.examples import sample
from ultraedit.report.markdown import CURVES, PLOTS, RETENTION, page, scored_again
from ultraedit.report.norm_plot import draw_norms
from ultraedit.report.plots import draw_metrics, draw_speed_and_memory
from ultraedit.report.reading import read_run
from ultraedit.report.retention_plot import draw_retention
from ultraedit.report.scores import scores_table
from ultraedit.report.watched import ABILITY, draw_ability, has_ability

EXAMPLES = 8
"""Answers that the page shows, unless the data has so many kinds that each needs two."""


def write(folder: Path) -> None:
    """Write ``report.md`` and its plots, from the four files of a finished run alone.

    The page comes last, so that one that is there never lacks a plot.

    Args:
        folder: A folder with ``summary.json``, ``config.json``, ``records.jsonl`` and
            ``answers.jsonl``.

    Raises:
        ConfigError: If it holds no finished run, or one of the files is damaged.
        StorageError: If the report cannot be written.
    """
    run = read_run(folder)
    rows = scores_table(run.summary)
    answers = sample(folder, max(EXAMPLES, 2 * (len(rows) - 1)))
    text = page(run, rows, answers)
    images = (draw_metrics(rows), draw_speed_and_memory(run.history), draw_norms(run.history))
    for name, image in zip(PLOTS, images, strict=True):
        write_bytes(folder / name, image)
    if len(run.history.points) > 1:
        write_bytes(folder / CURVES, draw_curves(run.history.points))
    if scored_again(run.history):
        write_bytes(folder / RETENTION, draw_retention(retention(run.history.efficacy)))
    if has_ability(run.history.seen):
        write_bytes(folder / ABILITY, draw_ability(run.history.seen))
    write_text(folder / "report.md", text)

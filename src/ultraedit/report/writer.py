"""Write the report into a run folder."""

from __future__ import annotations

from pathlib import Path

from ultraedit.core.files import write_bytes, write_text
from ultraedit.report.blocks import Picture
from ultraedit.report.cases import choose_cases
from ultraedit.report.examples import sample
from ultraedit.report.html import to_html
from ultraedit.report.markdown import to_markdown
from ultraedit.report.page import page
from ultraedit.report.reading import read_run
from ultraedit.report.scores import is_controls, scores_table

EXAMPLES = 8
"""Answers that the page shows, unless the data has so many kinds that each needs two."""

CASES = 10
"""Edits that the page shows as best, as worst and as drawn."""

MARKDOWN, HTML = "report.md", "report.html"


def write(folder: Path) -> None:
    """Write ``report.md``, its plots and ``report.html``, from the four files of a finished run.

    The pages come last, so that one that is there never lacks a plot.

    Args:
        folder: A folder with ``summary.json``, ``config.json``, ``records.jsonl`` and
            ``answers.jsonl``.

    Raises:
        ConfigError: If it holds no finished run, or one of the files is damaged.
        StorageError: If the report cannot be written.
    """
    run = read_run(folder)
    rows = scores_table(run.summary)
    asked = sum(not is_controls(row.name) for row in rows)
    answers = sample(folder, max(EXAMPLES, 2 * (asked - 1)))
    blocks = list(page(run, rows, answers, choose_cases(folder, CASES)))
    drawings = {block.name: block.draw() for block in blocks if isinstance(block, Picture)}
    for name, drawing in drawings.items():
        write_bytes(folder / name, drawing.png)
    write_text(folder / HTML, to_html(blocks, drawings))
    write_text(folder / MARKDOWN, to_markdown(blocks))

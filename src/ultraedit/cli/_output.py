"""What commands print: results on the standard output, messages on the standard error.

Facts and answers pass through `symbols` on their way, so that none of them does anything there.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ultraedit.core.symbols import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod

    from ultraedit.core.types import Answer

TICK, CROSS = "✓", "✗"

NO_ANSWER = "(nothing)"
"""What stands for an empty answer, which a reader would take for a gap in the table."""


def console(*, stderr: bool = False) -> Console:
    """The terminal as it is now, printing texts as they are: brackets in a fact are no markup."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def write_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(f"{visible_json(value)}\n")
    sys.stdout.flush()


def line(text: str = "") -> None:
    """Print a line of a result, however long it is."""
    console().print(visible(text), soft_wrap=True)


def message(text: str) -> None:
    """Print a line that is no result."""
    sys.stderr.write(f"{visible(text)}\n")
    sys.stderr.flush()


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    spaced: bool = False,
    stderr: bool = False,
) -> None:
    """Print a table. Long cells go on in the next line; nothing is cut off.

    Args:
        columns: Their headings.
        rows: The cells. None is an empty cell.
        title: A line above it.
        right: The columns to align to the right, such as numbers.
        whole: The columns whose cells stay in one line, such as names to be typed.
        spaced: Whether an empty line stands between rows, for cells of several lines.
        stderr: Whether it is a message, not a result.
    """
    from rich import box
    from rich.table import Table

    drawn = Table(
        title=None if title is None else visible(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        leading=int(spaced),
    )
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        drawn.add_column(visible(column), overflow="fold", justify=justify, no_wrap=column in whole)
    for row in rows:
        drawn.add_row(*("" if cell is None else visible(str(cell)) for cell in row))
    console(stderr=stderr).print(drawn)


def pairs(values: Mapping[str, Any]) -> None:
    """Print names with their values, one a line; what has no value is left out."""
    from rich.table import Table

    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in values.items():
        if value is not None:
            drawn.add_row(visible(name), visible(str(value)))
    console().print(drawn)


def scores(summary: Mapping[str, Any], *, before: bool = True) -> None:
    """Print the scores of a run, or of a single evaluation.

    Args:
        summary: An object with ``before`` and ``after``, as ``summary.json`` has them.
        before: Whether there is anything to show of the time before the edits.
    """
    from ultraedit.report import format_percent, perplexity_line, scores_table

    rows = [row for row in scores_table(summary) if row.forced or row.generated]
    generated = any(row.generated for row in rows)
    columns: dict[str, list[float | None]] = {}
    if before and generated:
        columns["free before"] = [row.generated_before for row in rows]
    if generated:
        columns["free after" if before else "free"] = [row.generated_after for row in rows]
        columns["stops"] = [row.stops for row in rows]
    if before:
        columns["forced before"] = [row.forced_before for row in rows]
    columns["forced after" if before else "forced"] = [row.forced_after for row in rows]
    table(
        ["metric", *columns],
        [
            (row.name, *(None if value is None else format_percent(value) for value in cells))
            for row, *cells in zip(rows, *columns.values(), strict=True)
        ],
        right=list(columns),
        whole=["metric"],
    )
    line()
    if generated:
        line("Free: exact match of the model's own answers; stops: nothing follows the target.")
    line("Forced: teacher-forced token accuracy.")
    if said := perplexity_line(summary):
        line(said)


def answers(chosen: Iterable[Answer]) -> None:
    """Print generated answers from before and after the edits."""
    table(
        ["prompt", "before", "after", "target", ""],
        [
            (
                each.prompt,
                each.before or NO_ANSWER,
                each.after or NO_ANSWER,
                each.target,
                TICK if each.correct else CROSS,
            )
            for each in chosen
        ],
        spaced=True,
    )


class _PlainHandler(logging.Handler):
    """Prints messages of the library as plain lines, wherever the standard error is now."""

    def emit(self, record: logging.LogRecord) -> None:
        message(self.format(record))


def show_log() -> None:
    """Let the user see what the library has to say."""
    log = logging.getLogger("ultraedit")
    log.setLevel(logging.INFO)
    log.handlers = [_PlainHandler()]

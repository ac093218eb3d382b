"""The report of a finished run: a page and its plots, made from its four files."""

from ultraedit.report.examples import examples
from ultraedit.report.formats import (
    format_bytes,
    format_change,
    format_count,
    format_number,
    format_percent,
    format_seconds,
)
from ultraedit.report.run_page import write
from ultraedit.report.scores import METRICS, ScoreRow, label, perplexity_line, scores_table
from ultraedit.report.verdict import Verdict, judge

__all__ = [
    "METRICS",
    "ScoreRow",
    "Verdict",
    "examples",
    "format_bytes",
    "format_change",
    "format_count",
    "format_number",
    "format_percent",
    "format_seconds",
    "judge",
    "label",
    "perplexity_line",
    "scores_table",
    "write",
]

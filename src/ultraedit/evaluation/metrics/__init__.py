"""Pure functions that turn token ids and texts into numbers, and the table of metrics."""

from ultraedit.core.writing_systems import answer_lines
from ultraedit.evaluation.metrics.answers import Forced, Free
from ultraedit.evaluation.metrics.exact_match import (
    begins,
    exact_match,
    line_count,
    stops,
)
from ultraedit.evaluation.metrics.registry import ALONE, METRICS, Metric
from ultraedit.evaluation.metrics.retention import (
    Aged,
    Retention,
    Scored,
    forgetting_curve,
    retention,
    turn_means,
)
from ultraedit.evaluation.metrics.tokens import mean, token_accuracy, token_agreement

__all__ = [
    "ALONE",
    "METRICS",
    "Aged",
    "Forced",
    "Free",
    "Metric",
    "Retention",
    "Scored",
    "answer_lines",
    "begins",
    "exact_match",
    "forgetting_curve",
    "line_count",
    "mean",
    "retention",
    "stops",
    "token_accuracy",
    "token_agreement",
    "turn_means",
]

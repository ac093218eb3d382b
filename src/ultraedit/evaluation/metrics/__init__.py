"""Pure functions that turn token ids and texts into numbers."""

from ultraedit.core.writing_systems import answer_lines
from ultraedit.evaluation.metrics.divergence import divergence, log_probabilities, same_choice
from ultraedit.evaluation.metrics.exact_match import (
    begins,
    exact_match,
    line_count,
    stops,
)
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
    "Aged",
    "Retention",
    "Scored",
    "answer_lines",
    "begins",
    "divergence",
    "exact_match",
    "forgetting_curve",
    "line_count",
    "log_probabilities",
    "mean",
    "retention",
    "same_choice",
    "stops",
    "token_accuracy",
    "token_agreement",
    "turn_means",
]

"""Pure functions that turn token ids and texts into numbers."""

from ultraedit.metrics.divergence import (
    divergence,
    log_probabilities,
    same_choice,
)
from ultraedit.metrics.exact_match import answer_line, begins, exact_match, stops
from ultraedit.metrics.retention import (
    Aged,
    Retention,
    Scored,
    forgetting_curve,
    retention,
    turn_means,
)
from ultraedit.metrics.tokens import mean, token_accuracy, token_agreement

__all__ = [
    "Aged",
    "Retention",
    "Scored",
    "answer_line",
    "begins",
    "divergence",
    "exact_match",
    "forgetting_curve",
    "log_probabilities",
    "mean",
    "retention",
    "same_choice",
    "stops",
    "token_accuracy",
    "token_agreement",
    "turn_means",
]

"""Pure functions that turn token ids and texts into numbers."""

from ultraedit.metrics.exact_match import answer_line, exact_match
from ultraedit.metrics.tokens import mean, token_accuracy, token_agreement

__all__ = ["answer_line", "exact_match", "mean", "token_accuracy", "token_agreement"]

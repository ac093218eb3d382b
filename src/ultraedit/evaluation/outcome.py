"""What an evaluation comes to: the scores, and what the unedited model said before.

These are values alone, so that a run folder can keep them without the model that they are of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ultraedit.core.types import Answer, ControlScores, Question, Scores


@dataclass(frozen=True)
class Reference:
    """What the unedited model says to the questions of a run."""

    tokens: dict[Question, tuple[int, ...]] = field(default_factory=dict)
    """Its top choices at each answer token, under teacher forcing."""

    answers: dict[str, str] = field(default_factory=dict)
    """Its generated answers by prompt."""

    controls: dict[str, str] = field(default_factory=dict)
    """Its short generated answers to the control questions, by prompt."""

    control_tokens: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Its top choices at each token of these, under teacher forcing."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of a set of edits, and what stands behind them."""

    scores: Scores
    reference: Reference
    answers: tuple[Answer, ...]
    overruled: int
    by_edit: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Per name the teacher-forced score of each edit, in their order; None where it has no such
    question."""
    controls: ControlScores | None = None
    """What became of the answers to control questions; None where they were not asked."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By name of a score its 95 % bootstrap interval over facts, those of free generation behind
    ``generation.``."""

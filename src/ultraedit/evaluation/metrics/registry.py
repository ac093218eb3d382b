"""The metrics, as a table. A new metric is one function and one row here.

Evaluation, records, reports, plots, comparisons, monitors, guards, model cards and the command line
read this table. A metric is a function of all answers to one kind of question, of one model:
under teacher forcing (`Forced`), in free generation (`Free`), or one function for each.

The table is read by help pages, so nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ultraedit.core.errors import ConfigError
from ultraedit.evaluation.metrics.answers import Forced, Free, agrees
from ultraedit.evaluation.metrics.tokens import mean, token_agreement
from ultraedit.evaluation.question import QUESTIONS


def accuracy(answers: Sequence[Forced]) -> float | None:
    """Mean share of the gold tokens that are the model's top choice."""
    return mean(each.score for each in answers if each.has_gold)


def exact(answers: Sequence[Free]) -> float | None:
    """Share of the generated answers that are exact matches of the gold one."""
    return mean(each.score for each in answers if each.has_gold)


def same_tokens(answers: Sequence[Forced]) -> float | None:
    """Share of all answer tokens where the top choice is the unedited model's."""
    known = [(each.predicted, each.unedited) for each in answers if each.unedited is not None]
    return token_agreement((ours for ours, _ in known), (theirs for _, theirs in known))


def same_answers(answers: Sequence[Free]) -> float | None:
    """Share of the generated answers that are the unedited model's own."""
    return mean(agrees(each.answer.after, each.answer.before) for each in answers if each.compared)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: what it is computed from, and how a reader is told of it.

    Raises:
        ConfigError: If there is no such kind of question.
    """

    name: str
    """Key of its value in records and summaries, where it never changes."""

    question: str
    """The kind of question that it is about, of `QUESTIONS`."""

    meaning: str
    """What a high value says, as the end of a sentence."""

    forced: Callable[[Sequence[Forced]], float | None] | None = None
    """Its value under teacher forcing; None, or its result None, where it has none."""

    free: Callable[[Sequence[Free]], float | None] | None = None
    """Its value in free generation."""

    label: str = ""
    """What readers see. [default: the name]"""

    lower_is_better: bool = False
    against_unedited: bool = False
    """Whether it compares with the unedited model. Such a metric has no value for a model alone,
    and none by the turn of the edits."""

    def __post_init__(self) -> None:
        """Check the kind of question."""
        if self.question not in QUESTIONS:
            raise ConfigError(
                f"The question of the metric {self.name} must be one of {', '.join(QUESTIONS)}, "
                f"got {self.question!r}."
            )

    @property
    def title(self) -> str:
        """What readers see, with a warning where less of it is better."""
        label = self.label or self.name
        return f"{label} (lower is better)" if self.lower_is_better else label

    @property
    def of_fact(self) -> bool:
        """Whether it is about the fact itself."""
        return QUESTIONS[self.question].of_fact


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                name="efficacy",
                question="efficacy",
                meaning="the edited prompts get their new answers",
                forced=accuracy,
                free=exact,
            ),
            Metric(
                name="generalization",
                question="generalization",
                meaning="other ways of asking them get the new answers too",
                forced=accuracy,
                free=exact,
            ),
            Metric(
                name="specificity",
                question="specificity",
                meaning="unrelated questions get their gold answers",
                forced=accuracy,
                free=exact,
            ),
            Metric(
                name="agreement",
                question="specificity",
                meaning="unrelated questions get the unedited model's answers",
                forced=same_tokens,
                free=same_answers,
                against_unedited=True,
            ),
        )
    }
)
"""The metrics by name, in the order in which they are shown."""

ALONE: tuple[str, ...] = tuple(
    name for name, metric in METRICS.items() if not metric.against_unedited
)
"""Names of those that need no unedited model."""

COMPARED_QUESTIONS: frozenset[str] = frozenset(
    metric.question for metric in METRICS.values() if metric.against_unedited
)
"""Kinds of question to which the unedited model's tokens are kept."""

GUARDED: tuple[str, ...] = tuple(
    name for name, metric in METRICS.items() if metric.forced is not None and name != "agreement"
)
"""Names of those that a guard watches by their own name, under teacher forcing. To a guard,
``agreement`` is that of the next token at unrelated prompts, as the monitor `locality` sees it."""

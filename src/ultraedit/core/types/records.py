"""What a run writes down, and who is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ultraedit.core.types.contract import State
from ultraedit.core.types.edits import Turn

if TYPE_CHECKING:  # Tables of editors and formats are listed without torch.
    from torch import Tensor


class Measured:
    """Base of scores: values by the names of metrics, `ultraedit.evaluation.metrics.METRICS`.

    Each is an item and an attribute, ``scores["efficacy"]`` and ``scores.efficacy``, and one key of
    the object in a record or a summary. None where the data has no such question.
    """

    metrics: Mapping[str, float | None]

    def __getitem__(self, name: str) -> float | None:
        """Value of a metric; None where it was not measured."""
        return self.metrics.get(name)

    def __getattr__(self, name: str) -> float | None:
        """Value of a metric that is no field."""
        values: dict[str, float | None] = self.__dict__.get(
            "metrics", {}
        )  # A copy asks before it has any field.
        if name not in values:
            raise AttributeError(f"{type(self).__name__} has no {name!r}.")
        return values[name]


@dataclass(frozen=True, init=False)
class GenerationScores(Measured):
    """Scores of free generation (greedy decoding), as fractions: exact match, or agreement."""

    metrics: Mapping[str, float | None]

    probes: Mapping[str, float]
    """Those of the data and those of `ultraedit.evaluation.probes`, by name."""

    begins: Mapping[str, float]
    """By name of a score, probes among them: share of the answers that begin with the target."""

    stops: Mapping[str, float]
    """By name likewise: share of the answers that are the target and nothing else. All of them are
    exact matches, and all exact matches begin with the target."""

    def __init__(
        self,
        metrics: Mapping[str, float | None] | None = None,
        *,
        probes: Mapping[str, float] | None = None,
        begins: Mapping[str, float] | None = None,
        stops: Mapping[str, float] | None = None,
        **named: float | None,
    ) -> None:
        """Take values by name, as a mapping or one by one."""
        fields = {"probes": probes or {}, "begins": begins or {}, "stops": stops or {}}
        _fill(self, metrics=dict(metrics or {}) | named, **fields)


class Changed(NamedTuple):
    """An answer that the edits have changed and should not have."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class ControlScores:
    """What became of the answers to questions that have nothing to do with any edit.

    The unedited model's own short greedy answers are the reference.
    """

    questions: int
    """How many were asked."""

    agreement: float | None = None
    """Share of the tokens of the reference where the top choice is still the unedited model's; None
    where it wrote nothing."""

    generation: float | None = None
    """Share of the questions still answered so in free generation; None where not evaluated."""

    worst: Changed | None = None
    """The generated answer that has changed most."""

    @property
    def changed(self) -> int | None:
        """How many generated answers have changed."""
        if self.generation is None:
            return None
        return self.questions - round(self.generation * self.questions)


@dataclass(frozen=True, init=False)
class Scores(Measured):
    """One evaluation under teacher forcing, the perplexity apart as fractions."""

    metrics: Mapping[str, float | None]

    probes: Mapping[str, float]
    """Those of the data and those of `ultraedit.evaluation.probes`, by name."""

    generation: GenerationScores | None

    perplexity: float | None
    """Of a text that has nothing to do with the edits; None where none was given."""

    def __init__(
        self,
        metrics: Mapping[str, float | None] | None = None,
        *,
        probes: Mapping[str, float] | None = None,
        generation: GenerationScores | None = None,
        perplexity: float | None = None,
        **named: float | None,
    ) -> None:
        """Take values by name, as a mapping or one by one."""
        _fill(
            self,
            metrics=dict(metrics or {}) | named,
            probes=probes or {},
            generation=generation,
            perplexity=perplexity,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scores:
        """Read what `to_json` wrote."""
        values = dict(values)
        generation = values.pop("generation")
        return cls(
            **values, generation=None if generation is None else GenerationScores(**generation)
        )


def _fill(scores: Measured, **fields: object) -> None:
    """Set the fields of a frozen object."""
    for name, value in fields.items():
        object.__setattr__(scores, name, value)


def to_json(record: Any) -> dict[str, Any]:
    """A record as plain values by field, with the metrics of scores in the place of `metrics`."""
    values: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if each.name == "metrics" and isinstance(record, Measured):
            values |= value
        else:
            values[each.name] = to_json(value) if is_dataclass(value) else value
    return values


@dataclass(frozen=True, kw_only=True)
class TurnRecord:
    """What one turn did and cost."""

    turn: int
    edits: int
    """Edits of this turn."""
    total_edits: int
    """Edits of the run up to and including this turn."""
    seconds: float
    """Wall time of the turn, evaluation excluded."""
    memory_bytes: int
    """Peak memory up to the end of the turn."""
    norms: Mapping[str, float]
    """Per module ``||dW|| / ||W0||``, accumulated change over unedited weight, Frobenius."""


@dataclass(frozen=True, kw_only=True)
class NewestScores:
    """How the edits do that were made last."""

    edits: int
    """How many were scored."""
    scores: Scores
    """Teacher-forced, without agreement: the unedited model was not asked their questions."""


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """One evaluation of the model, over all edits made so far or a sample of them."""

    turn: int
    """Turn after which it was taken; 0 is the unedited model, asked about edits to come."""
    edits: int
    """Number of edits scored. Of a sample, those that were made so far."""
    made: int | None = None
    """Number of edits that the job has made so far; None in records of older programs, and of
    reverts, which score all active edits."""
    overruled: int
    """How many of them a later edit of the same prompt has given another answer."""
    seconds: float
    """Wall time of the evaluation."""
    scores: Scores
    by_turn: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Teacher-forced scores by name, averaged over the edits of each turn; None where they have
    no such question."""
    first_turn: int = 1
    """Turn that the first of them is of."""
    newest: NewestScores | None = None
    """Those made last, where they were asked for."""
    monitors: Mapping[str, Any] = field(default_factory=dict)
    """What the monitors saw, by their names; plain values."""
    controls: ControlScores | None = None
    """Of the package's control questions; None where they were not asked."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By name of a score its 95 % bootstrap interval over facts, those of free generation behind
    ``generation.``."""


class Answer(NamedTuple):
    """One question answered in free generation before and after the edits, for the reader's eye."""

    kind: str
    """``efficacy``, ``generalization``, ``specificity`` or a probe's name."""
    edit_id: str
    prompt: str
    target: str | None
    before: str
    after: str
    correct: bool


class Carried(NamedTuple):
    """What a run carries from turn to turn: with the unedited model it is the edited one."""

    changes: Mapping[str, Tensor]
    """Accumulated change of each edited weight, float32, (d_in, d_out)."""

    state: State
    """The editor's."""


class Recorder(Protocol):
    """Where a run leaves its trace. A run folder is one; a list in memory is another."""

    def turn(self, record: TurnRecord, turn: Turn, carried: Carried) -> None:
        """Note a finished turn.

        Args:
            record: What it did and cost.
            turn: Its edits.
            carried: What the next turn starts from. The tensors are those in use: to be written
                now, or copied.
        """
        ...

    def checkpoint(self, record: CheckpointRecord) -> None:
        """Note an evaluation."""
        ...


class Observer(Protocol):
    """Someone who watches a long job, such as a progress bar."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A new part of the job begins, with so many steps if that is known."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current part are done."""
        ...


class NullObserver:
    """The observer that ignores everything."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Ignore it."""

    def advance(self, steps: int = 1) -> None:
        """Ignore it."""

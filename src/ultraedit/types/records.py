"""What a run writes down, and who is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ultraedit.types.contract import State
from ultraedit.types.edits import Turn

if TYPE_CHECKING:  # Tables of editors and formats are listed without torch.
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GenerationScores:
    """Exact match of free, greedy answers, as fractions; None where the data has no question."""

    efficacy: float | None = None
    generalization: float | None = None
    specificity: float | None = None
    """Against the gold locality answers."""

    agreement: float | None = None
    """Share of locality questions that get the unedited model's own answer."""

    probes: Mapping[str, float] = field(default_factory=dict)
    """Those of the data and those of `ultraedit.probes`, by name."""

    begins: Mapping[str, float] = field(default_factory=dict)
    """By name of a score, probes among them: share of the answers that begin with the target."""

    stops: Mapping[str, float] = field(default_factory=dict)
    """By name likewise: share of the answers that are the target and nothing else. All of them are
    exact matches, and all exact matches begin with the target."""


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
    """Share of the questions that are still answered so, freely; None where that was not asked."""

    worst: Changed | None = None
    """The free answer that has changed most."""

    @property
    def changed(self) -> int | None:
        """How many free answers have changed."""
        if self.generation is None:
            return None
        return self.questions - round(self.generation * self.questions)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One evaluation, the perplexity apart as fractions; None where there is no such question."""

    efficacy: float | None = None
    generalization: float | None = None
    specificity: float | None = None
    """Against the gold locality answers, as the paper scores it."""

    agreement: float | None = None
    """Share of locality answer tokens where the top choice is the unedited model's."""

    probes: Mapping[str, float] = field(default_factory=dict)
    """Those of the data and those of `ultraedit.probes`, by name."""
    generation: GenerationScores | None = None

    perplexity: float | None = None
    """Of a text that has nothing to do with the edits; None where none was given."""


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
    reverts, which score all edits that hold."""
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
    """One question answered freely before and after the edits, for the reader's eye."""

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


class Nobody:
    """The observer of a job that nobody watches."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Look away."""

    def advance(self, steps: int = 1) -> None:
        """Look away."""

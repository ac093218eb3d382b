"""The values that flow through the program, and the contract that every editor meets.

This module imports nothing of the package but `errors`, and every other module may import it.
Symbols and shapes are those of `docs/notation.md`: a row is one supervised token, so a
turn of n supervised tokens gives each edited layer keys of shape (n, d_in) and gradients
of shape (n, d_out).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from ultraedit.errors import DataError

if TYPE_CHECKING:  # Tables of editors and formats are listed without torch.
    from torch import Tensor


class Question(NamedTuple):
    """A prompt and the answer that it should get."""

    prompt: str

    target: str | None = None
    """The gold answer. None where the data has none: then only agreement can be scored."""


@dataclass(frozen=True)
class Edit:
    """One fact to write into the weights, with the questions that show whether it took."""

    prompt: str
    """What the model is asked."""

    target: str
    """What it should answer from now on."""

    subject: str | None = None
    """The part of `prompt` that names the entity. Needed by the MEMIT family alone."""

    rephrases: tuple[str, ...] = ()
    """Other ways of asking the same. They score generalization and are never edited on."""

    locality: tuple[Question, ...] = ()
    """Unrelated questions whose answers must not change. They score specificity."""

    probes: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    """Further named questions, such as ``personas`` or ``multi_hop``. Scored by name."""

    aliases: tuple[str, ...] = ()
    """Answers that count as right beside `target` when the model answers freely."""

    id: str = ""
    """The name of this edit in its file."""

    def __post_init__(self) -> None:
        """Refuse an edit that says nothing.

        Raises:
            DataError: If the prompt or the target is not a string with a visible character.
        """
        for name in ("prompt", "target"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(
                    f"{name} must be a text with at least one visible character, got {value!r}."
                )


class Turn(NamedTuple):
    """The edits that are applied together. The weights carry over from turn to turn."""

    number: int
    """Number of the turn in its run, from 1."""

    edits: tuple[Edit, ...]


class ModuleShape(NamedTuple):
    """Sizes of one edited linear layer, however its weight is stored."""

    d_in: int
    d_out: int


class LayerSignal(NamedTuple):
    """What one edited layer saw at the n supervised tokens of a turn.

    Rows stand in the order of the released code: the turn's edits sorted by length, longest
    first, ties in their given order; within an edit, by position.
    """

    keys: Tensor
    """Inputs of the layer. float32, shape (n, d_in)."""

    grads: Tensor
    """Gradients at the layer's outputs of the loss *summed* over all supervised tokens of the
    turn. float32, shape (n, d_out). An editor rescales them to the average it wants."""

    segments: Tensor
    """Rank of the row's edit in the order above. int64, shape (n,), non-decreasing from 0.
    ``segments // 10`` is the micro-batch that the released code would have put it in."""


class LowRank(NamedTuple):
    """A weight change kept as its factors, ``left @ right``."""

    left: Tensor
    """Shape (d_in, r)."""

    right: Tensor
    """Shape (r, d_out)."""

    def dense(self) -> Tensor:
        """Multiply the factors. Shape (d_in, d_out)."""
        return self.left @ self.right


@dataclass(frozen=True)
class Additive:
    """A patch that adds to weights: these sum, subtract and compress to low rank."""

    changes: Mapping[str, Tensor | LowRank]
    """Per module path the change, dense (d_in, d_out) or as factors."""


Patch = Additive
"""What a turn changes. Memory editors will add a replacement kind (docs/design/001)."""

State: TypeAlias = "dict[str, Tensor]"
"""All that an editor must remember between turns, as named tensors.

Being flat and made of tensors, it is saved, resumed, rolled back and compared by one piece of
code for every editor. An editor's `step` returns a new one and leaves its argument alone.
"""

Master = Literal["float32", "model"]
"""What accumulates the changes: a float32 copy of the edited weights that is cast to the model's
dtype after each turn, or the model's own weights, rounding each turn as the released code does."""


class Host(Protocol):
    """The model as an editor sees it: named linear layers and what flowed through them."""

    @property
    def modules(self) -> Mapping[str, ModuleShape]:
        """The edited layers by path, in the order in which they were chosen."""
        ...

    def signals(self, turn: Turn) -> dict[str, LayerSignal]:
        """Run the turn's edits forward and backward at the current weights, changing nothing."""
        ...

    def weight(self, path: str) -> Tensor:
        """Current weight of an edited layer, float32, shape (d_in, d_out). Not to be written."""
        ...


@runtime_checkable
class Editor(Protocol):
    """A model editor, as functions without side effects.

    The runner owns the model: it applies the patch and can take it back, so that revert,
    resume, dry run and retry are written once for all editors. An editor is a frozen
    dataclass whose fields are its options.
    """

    def init(self, host: Host) -> State:
        """State before the first turn."""
        ...

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Patch, State]:
        """Weight changes for one turn, and the state that follows it."""
        ...


@dataclass(frozen=True, kw_only=True)
class GenerationScores:
    """Exact match of free, greedy answers, as fractions; None where the data has no question."""

    efficacy: float | None = None
    generalization: float | None = None
    specificity: float | None = None
    """Against the gold locality answers."""

    agreement: float | None = None
    """Share of locality questions that get the unedited model's own answer."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One evaluation, as fractions; None where the data has no such question."""

    efficacy: float | None = None
    generalization: float | None = None
    specificity: float | None = None
    """Against the gold locality answers, as the paper scores it."""

    agreement: float | None = None
    """Share of locality answer tokens where the top choice is the unedited model's."""

    probes: Mapping[str, float] = field(default_factory=dict)
    generation: GenerationScores | None = None


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
class CheckpointRecord:
    """One evaluation of the model, over all edits made so far."""

    turn: int
    """Turn after which it was taken; 0 is the unedited model."""
    edits: int
    """Number of edits scored."""
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


def turns(edits: Iterable[Edit], edits_per_turn: int, first: int = 1) -> Iterable[Turn]:
    """Cut a stream of edits into turns. The last one may be short; nothing is dropped.

    Args:
        edits: The edits, read as they are needed.
        edits_per_turn: Size of every turn but perhaps the last.
        first: Number of the first turn.

    Yields:
        The turns, numbered from `first`.
    """
    batch: list[Edit] = []
    number = first
    for edit in edits:
        batch.append(edit)
        if len(batch) == edits_per_turn:
            yield Turn(number, tuple(batch))
            batch, number = [], number + 1
    if batch:
        yield Turn(number, tuple(batch))

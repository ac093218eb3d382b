"""The values that flow through the program, and the contract that every editor meets.

This module imports nothing of the package but `errors`, and every other module may import it.
Symbols and shapes are those of `docs/notation.md`: a row is one supervised token, so a
turn of n supervised tokens gives each edited layer keys of shape (n, d_in) and gradients
of shape (n, d_out).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
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

    supervised: Tensor | None = None
    """Which rows are supervised tokens, where the others were asked for too. bool, shape (n,)."""


Tokens = Literal["answer", "all"]
"""Rows of a signal: the supervised tokens of the edits, or every token that the model reads."""


class LossTerm(NamedTuple):
    """One term of a loss that judges a patch."""

    pairs: tuple[tuple[str, str], ...]
    """Prompts and answers."""

    weight: float
    """Factor of the term."""

    kind: Literal["answer", "drift"]
    """``answer``: cross-entropy of the answers. ``drift``: KL divergence, at the answers' tokens,
    of the patched model from the model as it stands."""

    average: Literal["edit", "micro-batch"] = "edit"
    """``edit``: mean over the tokens of a pair, summed over pairs and divided by `micro_batch`.
    ``micro-batch``: mean over the tokens of a micro-batch, summed over these. The two are about
    the same size; in the second, a pair's weight depends on its neighbours."""

    micro_batch: int = 10
    """Pairs per micro-batch."""

    backward: Literal["edited", "reverted"] = "edited"
    """Weights that the gradient flows back through: the patched ones, or those without the
    patch, as in RLEdit's released code."""


class Judgement(NamedTuple):
    """What a `LossTerm` says of a patch."""

    loss: float
    """Its value, the factor left out."""

    agreement: float
    """Share of the tokens where the patched model's top choice is the answer's (``answer``), or
    that of the model as it stands (``drift``)."""


class SecondMoment(NamedTuple):
    """What the inputs of one layer of the unedited model are like over a text."""

    moment: Tensor
    """Mean outer product of the inputs over tokens, not centred. float32, shape (d_in, d_in)."""

    tokens: int
    """Number of tokens that the mean is over."""

    source: str
    """The text, such as ``wikipedia.jsonl.gz, 1,000 samples`` or ``prompts of the edits``."""


class Lookup(NamedTuple):
    """A place where an editor looks into a text: the last token of a span of it."""

    text: str
    start: int
    """First character of the span, such as the subject."""

    end: int
    """First character after it."""


class OffsetGoal(NamedTuple):
    """What an offset should bring about, for one edit."""

    prompts: tuple[Lookup, ...]
    """Prompts after which the model should say the target. The first is the plain one."""

    target: str

    essence: Lookup
    """A text on what the span is, after whose span the model should say what it said before."""


@dataclass(frozen=True, kw_only=True)
class OffsetSearch:
    """How offsets are searched. `trace.offsets` has the loss."""

    lr: float
    """Step size of Adam."""

    steps: int
    """Most losses that are looked at; there is one step less."""

    weight_decay: float
    """Weight of ``||delta|| / ||h||^2`` in the loss."""

    kl: float
    """Weight of the divergence on the essence text."""

    clamp: float
    """Most length of an offset, relative to the output that it is added to."""

    stop: float = 0.05
    """An edit whose loss is below has found its offset."""


class Offsets(NamedTuple):
    """What a search found, a row per edit."""

    outputs: Tensor
    """Outputs of the layer at the lookup token of the plain prompt. float32, shape (n, d)."""

    offsets: Tensor
    """What to add to them. float32, shape (n, d)."""

    losses: Tensor
    """Loss of each edit where it was last looked at. Shape (n,)."""

    steps: Tensor
    """Steps that each edit took. int64, shape (n,)."""


SupervisedAt = Literal["answer", "last-prompt"]
"""Where the tokens of an answer are wanted. ``answer``: each at its own position, given the prompt
and the answer before it. ``last-prompt``: all of them at the last token of the prompt."""


class WeightGradients(NamedTuple):
    """Losses of some edits, and the gradients of their mean at the weights of edited layers."""

    losses: Tensor
    """Mean cross-entropy over the answer tokens of each edit, in nats. Shape (edits,)."""

    grads: Mapping[str, Tensor]
    """By module path. float32, shape (d_in, d_out)."""


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

GradientSink: TypeAlias = "Callable[[str, Tensor, Tensor], None]"
"""Takes the gradient at an edited weight in its factors, batch after batch: the path, the layer's
inputs (m, d_in) and the gradients at its outputs (m, d_out). The gradient is the sum of
``inputs.T @ gradients``; nobody has to form it."""

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

    def signals(self, turn: Turn, tokens: Tokens = "answer") -> dict[str, LayerSignal]:
        """Run the turn's edits forward and backward at the current weights, changing nothing."""
        ...

    def weight(self, path: str) -> Tensor:
        """Current weight of an edited layer, float32, shape (d_in, d_out). Not to be written."""
        ...

    def judge(
        self, patch: Patch, terms: Sequence[LossTerm], sink: GradientSink | None = None
    ) -> list[Judgement]:
        """Value of each term as if a patch were applied, and gradients at the patched weights."""
        ...

    def fingerprint(self) -> str:
        """Name of the model's weights as they are now."""
        ...

    def weight_gradients(
        self,
        edits: Sequence[Edit],
        weights: Mapping[str, Tensor],
        *,
        at: SupervisedAt = "answer",
        end_token: bool = False,
    ) -> WeightGradients:
        """Losses of edits with gradients at weights that take the place of the current ones.

        Args:
            edits: At least one.
            weights: Weights by module path, shape (d_in, d_out). The model has them for this
                call only; modules that are not named keep theirs and get no gradient.
            at: Where the tokens of an answer are wanted.
            end_token: Whether the tokenizer's end-of-text token ends each answer.
        """
        ...

    def second_moment(self, path: str) -> SecondMoment:
        """Second moment of an edited layer's inputs in the *unedited* model, over a text."""
        ...

    def change(self, path: str) -> Tensor:
        """Accumulated change of an edited layer, float32, (d_in, d_out). Not to be written."""
        ...

    def layer_number(self, path: str) -> int:
        """Number of the decoder layer that an edited layer is in, from 0."""
        ...

    def inputs_at(self, paths: Sequence[str], lookups: Sequence[Lookup]) -> dict[str, Tensor]:
        """Inputs of edited layers at single tokens, by path. float32, shape (n, d_in)."""
        ...

    def outputs_at(self, path: str, lookups: Sequence[Lookup]) -> Tensor:
        """Outputs of the *decoder layer* that an edited layer is in. float32, shape (n, d)."""
        ...

    def search_offsets(
        self, path: str, goals: Sequence[OffsetGoal], search: OffsetSearch
    ) -> Offsets:
        """Search offsets of the outputs of the *decoder layer* that an edited layer is in."""
        ...

    def patched(self, patch: Patch) -> AbstractContextManager[None]:
        """The model as if a patch were applied too, and exactly as it was afterwards."""
        ...

    def answer(self, prompts: Sequence[str], max_new_tokens: Sequence[int]) -> list[str]:
        """Let the model go on after prompts: greedily, to the end of the line."""
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


@runtime_checkable
class ViewingEditor(Protocol):
    """An editor whose changes are asked about in another form than that in which they add up."""

    def view(self, host: Host, state: State) -> Patch:
        """What to lay over the edited model for an evaluation, or before it is saved.

        It is not fed back: the next turn sees the model without it.
        """
        ...


@runtime_checkable
class CheckingEditor(Protocol):
    """An editor that can say before the first turn whether edits suit it."""

    def check(self, edits: Sequence[Edit]) -> None:
        """Refuse edits that it could not make.

        Raises:
            DataError: If there are any, naming them.
        """
        ...


@runtime_checkable
class RemarkingEditor(Protocol):
    """An editor with something to say about how it worked, for the record of a run."""

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """Short sentences by what they are about, such as ``null space`` or ``statistics``."""
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

"""What an editor can ask of a model, what comes back, and the patch that it gives.

Symbols and shapes are those of `docs/notation.md`: a row is one supervised token, so a turn of n
supervised tokens gives each edited layer keys of shape (n, d_in) and gradients of shape (n, d_out).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:  # Tables of editors and formats are listed without torch.
    from torch import Tensor


class ModuleShape(NamedTuple):
    """Sizes of one edited linear layer, however its weight is stored."""

    d_in: int
    d_out: int


class Encoded(NamedTuple):
    """One prompt with its answer, as token ids."""

    prompt_ids: tuple[int, ...]
    """Prompt with the tokenizer's special tokens."""

    answer_ids: tuple[int, ...]
    """Answer after a space, without special tokens."""

    @property
    def input_ids(self) -> tuple[int, ...]:
        """What the model reads: prompt, then the answer but for its last token."""
        return self.prompt_ids + self.answer_ids[:-1]

    def __len__(self) -> int:
        """Number of tokens that the model reads."""
        return len(self.prompt_ids) + len(self.answer_ids) - 1


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


Form = Literal["plain", "chat"]
"""How a fact is put to the model: the prompt as it is, or as a user's question in its chat
template."""


class TracedRows(NamedTuple):
    """Losses of some texts, and what the edited layers saw at all of their tokens."""

    losses: Tensor
    """Mean cross-entropy over the answer tokens of each text, in nats. float64, shape (texts,)."""

    signals: Mapping[str, LayerSignal]
    """By module path. `grads` are gradients of the *sum* of `losses`; `segments` says which text a
    row is of, by its place among the texts; a row that several texts share is of the first. Rows
    stand in the order of computation."""


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
    the same size; in the second, a pair's weight depends on its neighbors."""

    micro_batch: int = 10
    """Pairs per micro-batch."""

    backward: Literal["edited", "reverted"] = "edited"
    """Weights that the gradient flows back through: the patched ones, or those without the
    patch, as in RLEdit's released code."""


class LossValue(NamedTuple):
    """What a `LossTerm` says of a patch."""

    loss: float
    """Its value, the factor left out."""

    agreement: float
    """Share of the tokens where the patched model's top choice is the answer's (``answer``), or
    that of the model as it stands (``drift``)."""


class SecondMoment(NamedTuple):
    """What the inputs of one layer of the unedited model are like over a text."""

    moment: Tensor
    """Mean outer product of the inputs over tokens, not centered. float32, shape (d_in, d_in)."""

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

    kl_from: Literal["unedited", "edited"] = "unedited"
    """Whose mean the divergence is: KL(p_0 || p_delta), or as in the released code
    KL(p_delta || p_0)."""


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


SupervisedAt = Literal["answer", "last-prompt", "last-prompt-released"]
"""Where the tokens of an answer are wanted. ``answer``: each at its own position, given the prompt
and the answer before it. ``last-prompt``: all of them at the last token of the prompt.
``last-prompt-released``: there too, and with them what the released codes take for the answer's
tokens, `encoding.released_targets`."""


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


def dense(change: Tensor | LowRank) -> Tensor:
    """A weight change whole, whichever form it is kept in. Shape (d_in, d_out)."""
    return change.dense() if isinstance(change, LowRank) else change


@dataclass(frozen=True)
class Additive:
    """A patch that adds to weights: these sum, subtract and compress to low rank."""

    changes: Mapping[str, Tensor | LowRank]
    """Per module path the change, dense (d_in, d_out) or as factors."""


Patch = Additive
"""What a turn changes."""


class Memory(NamedTuple):
    """A change of a layer that only some sequences get."""

    change: Tensor
    """To the unedited weight. float32, shape (d_in, d_out)."""

    threshold: float
    """Least distance, as `routing` defines it, at which a sequence gets it."""


@dataclass(frozen=True)
class Routed:
    """A replacement that no weight can hold: a layer, and what it does to which sequence.

    It has neither sum nor difference, and no rank, so it can be put over a model and taken
    away again, and is nothing that a turn adds.
    """

    path: str
    """The layer."""

    memories: tuple[Memory, ...]
    """What may take the place of its unedited weight. The first is asked first."""

    per: Literal["sequence", "batch"] = "sequence"
    """What is decided on together; see `routing`."""


@dataclass(frozen=True)
class Recalled:
    """Facts that the model reads in front of the questions that they match; no weight changes.

    As a `Routed`, it is an overlay, taken away again, and is nothing that a turn adds.
    """

    facts: tuple[tuple[str, str], ...]
    """Prompts and targets, each prompt once, later ones newer."""

    k: int
    """Most facts in front of a question."""

    threshold: float
    """Least share of a fact that a question must have where the fact's name does not decide, as
    `facts.index` defines it; at most 1."""

    ordinary: tuple[str, ...] = ()
    """Texts that say how common words are, beside the facts themselves."""

    subjects: tuple[str | None, ...] = ()
    """What each fact is about, as `facts.selection` uses it; None where the fact does not say. May
    be empty."""

    embedder: str | None = None
    """Folder or id of the encoder by which facts are ranked; None ranks by words."""


View: TypeAlias = "Additive | Routed | Recalled"
"""Temporary overlays on a model."""

GradientSink: TypeAlias = "Callable[[str, Tensor, Tensor], None]"
"""Takes the gradient at an edited weight in its factors, batch after batch: the path, the layer's
inputs (m, d_in) and the gradients at its outputs (m, d_out). The gradient is the sum of
``inputs.T @ gradients``; nobody has to form it."""

"""The contract between an editor and the model that it edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from ultraedit.core.types.edits import Edit, Turn
from ultraedit.core.types.requests import (
    Encoded,
    Form,
    GradientSink,
    LayerSignal,
    Lookup,
    LossTerm,
    LossValue,
    ModuleShape,
    OffsetGoal,
    Offsets,
    OffsetSearch,
    Patch,
    SecondMoment,
    SupervisedAt,
    Tokens,
    TracedRows,
    View,
    WeightGradients,
)

if TYPE_CHECKING:  # Tables of editors and formats are listed without torch.
    from torch import Tensor


State: TypeAlias = "dict[str, Tensor]"
"""All that an editor must remember between turns, as named tensors.

Being flat and made of tensors, it is saved, resumed, rolled back and compared by one piece of
code for every editor. An editor's `step` returns a new one and leaves its argument alone.
"""

Master = Literal["float32", "model"]
"""What accumulates the changes: a float32 copy of the edited weights that is cast to the model's
dtype after each turn, or the model's own weights, rounding each turn as the released code does."""


class Held(Protocol):
    """Prompts and answers that were run up to an edited layer once, and go on from there.

    Rows of the tensors are tokens, all those that the model reads of all pairs: n of them.
    """

    inputs: Tensor
    """Inputs of the layer. float32, shape (n, d_in)."""

    pairs: Tensor
    """Which pair a token is of. int64, shape (n,)."""

    asked: Tensor
    """Whether it is of the prompt. bool, shape (n,)."""

    bias: Tensor | None
    """What the layer adds to its product. float32, shape (d_out,)."""

    longest: int
    """Tokens of the longest pair, its whole answer counted."""

    def gradients(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Losses, and what the layer's outputs should have been, with another weight.

        Args:
            weight: What the layer has for this call. Shape (d_in, d_out).

        Returns:
            Mean cross-entropy over the answer tokens of each pair, in nats, shape (pairs,); and
            the gradients of the mean of these at the layer's outputs, float32, shape (n, d_out).
            Of what was held with texts beside it, the loss of T tokens is T / (T + 1) of that.
        """
        ...


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

    def patch_loss(
        self, patch: Patch, terms: Sequence[LossTerm], sink: GradientSink | None = None
    ) -> list[LossValue]:
        """Value of each term as if a patch were applied, and gradients at the patched weights."""
        ...

    def texts(self, edits: Sequence[Edit], forms: Sequence[Form]) -> list[Encoded]:
        """Facts as texts that end where their answer ends, in every form that the model has.

        Args:
            edits: The facts.
            forms: In which forms. ``chat`` is left out for a model without a chat template.

        Returns:
            For each form all facts, each followed by its other prompts (`Edit.also`).
        """
        ...

    def other_wordings(self, edits: Sequence[Edit], forms: Sequence[Form]) -> list[list[Encoded]]:
        """Per fact, texts of it in other words, which patterns make; forms take turns.

        Args:
            edits: The facts.
            forms: As in `texts`.

        Returns:
            The texts of each fact; none where no other wording is known or fits the context.
        """
        ...

    def neighbors(self, edits: Sequence[Edit]) -> list[Encoded]:
        """The same questions of other subjects, whose answers must not change, in plain form.

        Args:
            edits: The facts of a turn.

        Returns:
            One text for each fact whose subject can be told. It ends behind the first token of an
            answer, which says nothing: its Fisher information is wanted, not its loss.
        """
        ...

    def own_answers(self, source: str, forms: Sequence[Form], max_new_tokens: int) -> list[Encoded]:
        """General prompts with what the model as it stands goes on with, greedily.

        In the place of general prompts that the tokenizer cannot read stand texts that the model
        writes by itself, each from a token of its vocabulary on.

        Args:
            source: ``general`` for those of the package, or the path of a file with others.
            forms: In which forms prompts are put: each in one of the ways of these, in turn.
            max_new_tokens: Most tokens of an answer; one that ends earlier has its end token.
        """
        ...

    def trace_texts(
        self, texts: Sequence[Encoded], *, sampled: bool = False, patch: Patch | None = None
    ) -> TracedRows:
        """Losses of texts at the current weights, and keys and gradients at all of their tokens.

        Args:
            texts: At least one.
            sampled: Whether labels are drawn from the model's own distribution, as the Fisher
                information wants them.
            patch: What the edited layers' outputs get as if it were applied, through its factors
                and without rounding it to the model's dtype, as an adapter. None for nothing.
        """
        ...

    def keeping_states(self) -> AbstractContextManager[None]:
        """Compute what lies below the lowest edited layer once per text while this lasts."""
        ...

    def read_lines(self, path: str) -> list[str]:
        """Lines of a UTF-8 file that an option names. Editors open no file themselves.

        Raises:
            OSError: If it cannot be read.
            UnicodeDecodeError: If it is not UTF-8.
        """
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

    def invert_post_norm(self, path: str, lookups: Sequence[Lookup], moves: Tensor) -> Tensor:
        """What an edited layer's own outputs must change by, for the hidden states to move.

        The same, unless a norm stands between the two. float32, shape (n, d), as `moves`.
        """
        ...

    def search_offsets(
        self, path: str, goals: Sequence[OffsetGoal], search: OffsetSearch
    ) -> Offsets:
        """Search offsets of the outputs of the *decoder layer* that an edited layer is in."""
        ...

    def hold(
        self,
        path: str,
        pairs: Sequence[tuple[str, str]],
        *,
        beside: Sequence[tuple[str, str]] | None = None,
        keep: bool = False,
    ) -> Held:
        """Run prompts and answers up to an edited layer, to go on from there again and again.

        Args:
            path: The layer. What is below the decoder layer that it is in must be unedited.
            pairs: Prompts and answers. At least one.
            beside: Texts, cut in two, that share a batch with the pairs as the released code of
                WISE has it: its tokens, its padding, which is read too, and its label mask. They
                are pairs of what is held behind the others, and have no loss. None holds the pairs
                alone.
            keep: Whether the same pairs will be held again.
        """
        ...

    def activation(self) -> Callable[[Tensor], Tensor]:
        """The nonlinearity of the model's MLPs."""
        ...

    def patched(self, patch: View) -> AbstractContextManager[None]:
        """The model as if a patch were applied too, and exactly as it was afterwards.

        A `Routed` takes the place of what was applied; an `Additive` comes on top of it; a
        `Recalled` is read by the model in front of what it is asked.
        """
        ...

    def answer(
        self,
        prompts: Sequence[str],
        max_new_tokens: Sequence[int],
        *,
        lines: Sequence[int] | None = None,
    ) -> list[str]:
        """Let the model go on after prompts: greedily, to the end of the line.

        Args:
            prompts: What to go on after.
            max_new_tokens: Most tokens to add, per prompt.
            lines: How many lines each answer may have. None takes one line each.
        """
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

    def view(self, host: Host, state: State) -> View:
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
class RememberingEditor(Protocol):
    """An editor that keeps more than the change of the weights, and can say how much."""

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """Bytes of what it keeps beside the change of the weights, by what they are.

        Counted from options and shapes alone: its large tensors, not what it computes on the way.

        Args:
            shapes: Those of the edited modules.
            edits: Edits of the run. None where nobody knows: what grows with them is then counted
                for as many as its name says.
            itemsize: Bytes of a number in the model's precision.
        """
        ...


@runtime_checkable
class RemarkingEditor(Protocol):
    """An editor with something to say about how it worked, for the record of a run."""

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """Short sentences by what they are about, such as ``null space`` or ``statistics``."""
        ...

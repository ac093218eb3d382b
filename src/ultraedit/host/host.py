"""The model, its edited weights and its tokenizer, as one thing that can be edited and asked."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ultraedit.core.encoding import (
    added_tokens,
    encode,
    prompt_ids,
    released_targets,
    together,
)
from ultraedit.core.errors import ConfigError
from ultraedit.core.files import read_lines
from ultraedit.core.old_names import renamed_method
from ultraedit.core.types import (
    Additive,
    Edit,
    Editor,
    Encoded,
    Form,
    GradientSink,
    LayerSignal,
    LossTerm,
    LossValue,
    Master,
    ModuleShape,
    Observer,
    Patch,
    Recalled,
    Routed,
    SecondMoment,
    State,
    SupervisedAt,
    Tokens,
    TracedRows,
    Turn,
    View,
    ViewingEditor,
    WeightGradients,
)
from ultraedit.data.enrichment.neighbors import neighbors
from ultraedit.data.enrichment.wordings import other_wordings
from ultraedit.data.general_questions import anchors
from ultraedit.host import trace
from ultraedit.host.token_states import LookupHost
from ultraedit.models import find_modules
from ultraedit.models.activation import activation_of
from ultraedit.models.chat import begins_twice, render_question, reply_end
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.generation import generate, greedy_tokens, sampled_tokens
from ultraedit.models.modules import shape_of
from ultraedit.models.offload import held, is_offloaded, refuse_absent
from ultraedit.models.overlays.facts import as_read
from ultraedit.models.overlays.overlay import laid_over, require_plain
from ultraedit.models.precision import in_float32
from ultraedit.models.saving import require_savable
from ultraedit.models.weights import EditedWeights

if TYPE_CHECKING:
    from ultraedit.host.second_moments import Statistics
    from ultraedit.models import LanguageModel


WAYS: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    lambda prompt: f"question: {prompt.lower()}",
)
"""Ways in which a general prompt is put in plain form, as people do: as it is, without capitals,
and announced. A model that is held to one alone moves in the others (LOG.md, 2026-11-27)."""

OWN_TEXT_TOKENS = 24
"""How many tokens the model writes of a text of its own."""


class ModelHost(LookupHost):
    """What `types.Host` promises to editors; `weights` for the loop, `predict` for evaluation."""

    def __init__(
        self,
        language_model: LanguageModel,
        patterns: Sequence[str] | None,
        master: Master = "float32",
        statistics: Statistics | None = None,
    ) -> None:
        """Choose the modules to edit.

        Args:
            language_model: The loaded model. Its edited weights will change in place.
            patterns: Module patterns such as ``layers.[27-28].mlp.down_proj``; None for a model
                that is asked and not edited.
            master: What accumulates the changes.
            statistics: Where the second moments of the edited layers come from; None where no
                editor asks for them.

        Raises:
            ConfigError: If a pattern matches nothing that can be edited or saved again, or the
                model is one with memories or facts beside its weights.
        """
        if patterns is not None:
            require_plain(language_model)
        self.language_model = language_model
        self._modules = (
            {}
            if patterns is None
            else find_modules(language_model.model, patterns, name=language_model.name)
        )
        refuse_absent(self._modules)
        require_savable(language_model, self._modules)
        self.weights = self._edited(self._modules, master)
        self._statistics = statistics
        self._moments: dict[str, SecondMoment] = {}
        self._norms = {}
        self._held_below: dict[str, trace.Trunk | None] = {}
        self._expected: Mapping[tuple[str, str], Encoded] = {}
        self._memories: Mapping[str, Sequence[Tensor]] = {}
        self.trunk: trace.Trunk | None = None
        """What lies below the lowest edited layer, where `use_trunk` has set it up."""
        self._trunk_for_edits = False
        self._states: trace.Trunk | None = None
        """What lies below the lowest edited layer, for the texts of a turn at work."""
        self._fetched = bool(self._modules) and any(map(is_offloaded, self._blocks.list))
        if self._fetched:
            self.use_trunk()

    def _edited(self, modules: Mapping[str, nn.Module], master: Master) -> EditedWeights:
        return EditedWeights(modules, master)

    @property
    def modules(self) -> Mapping[str, ModuleShape]:
        """The edited layers by path, in the order in which they were chosen."""
        return {path: shape_of(module) for path, module in self._modules.items()}

    def encode(self, pairs: Sequence[tuple[str, str]], *, gap: str = " ") -> list[Encoded]:
        """Tokenize prompts and answers, refusing what the model cannot read whole.

        Args:
            pairs: Prompts and answers.
            gap: What stands between the two.
        """
        expected = self._expected  # another thread may ask for the next turn's meanwhile
        if expected and gap == " " and all(pair in expected for pair in pairs):
            return [expected[pair] for pair in pairs]
        model = self.language_model
        items = encode(model.tokenizer, pairs, max_length=model.context_length, gap=gap)
        model.require_known(item.prompt_ids + item.answer_ids for item in items)
        return items

    def expect(self, tokens: Mapping[tuple[str, str], Encoded]) -> None:
        """Take prompts and answers that `encode` will soon be asked for, tokenized by `encode`."""
        self._expected = tokens

    def signals(self, turn: Turn, tokens: Tokens = "answer") -> dict[str, LayerSignal]:
        """Run the turn's edits forward and backward at the current weights, changing nothing."""
        items = self.encode([(edit.prompt, edit.target) for edit in turn.edits])
        trunk = self._trunk_of(items) if self._trunk_for_edits else None
        return trace.layer_signals(self.language_model.model, self._modules, items, tokens, trunk)

    def use_trunk(
        self,
        *,
        budget_bytes: int = trace.BUDGET_BYTES,
        folder: str | os.PathLike[str] | None = None,
        for_edits: bool = True,
    ) -> None:
        """Compute what lies below the lowest edited layer once per sequence, and keep it.

        For a job that asks the same questions again. Where the lowest edited layer is in the
        first block, or the model cannot be cut there, everything runs as before.

        Args:
            budget_bytes: Most memory for hidden states. Past it they go to a file.
            folder: Where that file is. None takes the system's folder for temporary files.
            for_edits: Whether the turns too begin there. False where evaluations do not ask the
                edits themselves, or turns must not depend on there being a trunk. A model whose
                layers are fetched has one always, for turns too.
        """
        self.drop_trunk()
        self.trunk = trace.trunk_of(
            self._blocks,
            list(self._modules),
            hold=held if self._fetched else None,
            budget_bytes=budget_bytes,
            folder=folder,
        )
        self._trunk_for_edits = for_edits or self._fetched

    def drop_trunk(self) -> None:
        """Forget what the trunk has kept, and run the whole model from now on.

        Layers that are fetched for each pass are still passed by all batches together.
        """
        if self.trunk is not None:
            self.trunk.close()
        if not self._fetched:
            self.trunk = None

    def _trunk_of(self, items: Sequence[Encoded]) -> trace.Trunk | None:
        return self.trunk if self.trunk is not None and self.trunk.works_for(items) else None

    def weight(self, path: str) -> Tensor:
        """Current weight of an edited layer, float32, shape (d_in, d_out). Not to be written."""
        return self.weights.weight(path)

    def patch_loss(
        self, patch: Patch, terms: Sequence[LossTerm], sink: GradientSink | None = None
    ) -> list[LossValue]:
        """Value of each term as if a patch were applied, and gradients at the patched weights."""
        model, modules = self.language_model.model, self._modules
        values = []
        for term in terms:
            items = self.encode(term.pairs)
            trunk = self._trunk_of(items) if self._trunk_for_edits else None
            values.append(trace.loss_of_patch(model, modules, patch, term, items, sink, trunk))
        return values

    judge = renamed_method("judge", "patch_loss")
    behind_norm = renamed_method("behind_norm", "invert_post_norm")

    def texts(self, edits: Sequence[Edit], forms: Sequence[Form]) -> list[Encoded]:
        """Facts as texts that end where their answer ends; see `types.Host`.

        Raises:
            ConfigError: If the model has none of the forms.
            DataError: If a text is longer than the model's context.
        """
        pairs = [(prompt, edit.target) for edit in edits for prompt in (edit.prompt, *edit.also)]
        return [text for form in self._forms(forms) for text in self._as_form(pairs, form)]

    def other_wordings(self, edits: Sequence[Edit], forms: Sequence[Form]) -> list[list[Encoded]]:
        """Texts of each fact in other words; see `types.Host`."""
        usable = self._forms(forms)
        longest = self.language_model.context_length or sys.maxsize
        texts = []
        for edit, prompts in zip(edits, other_wordings(edits), strict=True):
            spare = longest - max(map(len, self.texts([edit], forms)))
            asked = [
                self._as_form([(prompt, edit.target)], usable[place % len(usable)])[0]
                for place, prompt in enumerate(prompts)
                if len(prompt) - len(edit.prompt) <= spare and self._can_read(prompt)
            ]
            texts.append(asked)
        return texts

    def neighbors(self, edits: Sequence[Edit]) -> list[Encoded]:
        """The questions of the edits on other subjects; see `types.Host`."""
        longest = self.language_model.context_length or sys.maxsize
        prompts = [prompt for prompt in neighbors(edits) if self._can_read(prompt)]
        rows = prompt_ids(self.language_model.tokenizer, prompts)
        return [Encoded(row, row[-1:]) for row in rows if 0 < len(row) < longest]

    def own_answers(self, source: str, forms: Sequence[Form], max_new_tokens: int) -> list[Encoded]:
        """General prompts with what the model as it stands goes on with; see `types.Host`."""
        is_general = source == "general"
        every = [each.prompt for each in anchors(None if is_general else source)]
        prompts = [each for each in every if not is_general or self._can_read(each)]
        model = self.language_model
        ways: list[Callable[[str], str]] = []
        for form in self._forms(forms):
            ways += WAYS if form == "plain" else [partial(self._rendered, form=form)]
        asked = [ways[place % len(ways)](prompt) for place, prompt in enumerate(prompts)]
        rows = prompt_ids(model.tokenizer, asked)
        answers = greedy_tokens(model, rows, max_new_tokens)
        texts = [Encoded(row, said) for row, said in zip(rows, answers, strict=True) if said]
        return texts + self._own_texts(len(every) - len(prompts))

    def _own_texts(self, count: int) -> list[Encoded]:
        """What the model writes by itself after a token drawn from its vocabulary."""
        if not count:
            return []
        tokenizer = self.language_model.tokenizer
        front = added_tokens(tokenizer).front
        words = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
        words = [word for word in words if word < self.language_model.vocabulary]
        rows = [(*front, word) for word in random.Random(0).choices(words, k=count)]
        written = sampled_tokens(self.language_model, rows, OWN_TEXT_TOKENS, seed=0)
        return [Encoded(row, text) for row, text in zip(rows, written, strict=True) if text]

    def read_lines(self, path: str) -> list[str]:
        """Lines of a file that an option names; see `types.Host`."""
        return read_lines(path)

    def _can_read(self, prompt: str) -> bool:
        """Whether the tokenizer knows every token of a prompt that nobody has written."""
        tokenizer = self.language_model.tokenizer
        return tokenizer.unk_token_id not in tokenizer(prompt)["input_ids"]

    def _forms(self, forms: Sequence[Form]) -> list[Form]:
        """Those of the forms that the model has."""
        has_template = bool(getattr(self.language_model.tokenizer, "chat_template", None))
        usable = [form for form in forms if form != "chat" or has_template]
        if not usable:
            raise ConfigError(
                f"{self.language_model.name} has no chat template, so facts cannot be written in "
                "chat form. Take form=plain."
            )
        return usable

    def _rendered(self, prompt: str, form: Form) -> str:
        if form == "plain":
            return prompt
        tokenizer = self.language_model.tokenizer
        return render_question(tokenizer, prompt).removeprefix(begins_twice(tokenizer))

    def _as_form(self, pairs: Sequence[tuple[str, str]], form: Form) -> list[Encoded]:
        """Prompts and answers in one form, with the token that ends such an answer, if any."""
        asked = [(self._rendered(prompt, form), target) for prompt, target in pairs]
        end = self.language_model.tokenizer.eos_token_id
        if form == "chat":
            own = reply_end(self.language_model.tokenizer)
            end = end if own is None else own  # it may be token 0
        items = self.encode(asked, gap=" " if form == "plain" else "")
        closing = () if end is None else (int(end),)
        return [Encoded(item.prompt_ids, item.answer_ids + closing) for item in items]

    def trace_texts(
        self, texts: Sequence[Encoded], *, sampled: bool = False, patch: Patch | None = None
    ) -> TracedRows:
        """Losses of texts, and keys and gradients at all of their tokens, as `trace_rows`."""
        return self.trace_in_rows(texts, self.shared_rows(texts), sampled=sampled, patch=patch)

    def shared_rows(self, texts: Sequence[Encoded]) -> list[trace.SharedRow]:
        """Rows of the texts that begin alike, where the model allows that."""
        trunk = self._trunk_below(texts)
        shares = trunk is not None and trunk.shares(texts)
        return trace.rows_of(self.language_model.model, texts) if shares else []

    def trace_in_rows(
        self,
        texts: Sequence[Encoded],
        rows: Sequence[trace.SharedRow],
        *,
        sampled: bool = False,
        patch: Patch | None = None,
    ) -> TracedRows:
        """The same as `trace_texts`, with rows that `shared_rows` has made of some of the texts."""
        return trace.trace_rows(
            self.language_model.model,
            self._modules,
            texts,
            sampled=sampled,
            trunk=self._trunk_below(texts),
            rows=rows,
            patch=patch,
        )

    def _trunk_below(self, texts: Sequence[Encoded]) -> trace.Trunk | None:
        """What has the states below the lowest edited layer for `trace_texts`."""
        trunk = self._states
        return trunk if trunk is not None and trunk.works_for(texts) else None

    @contextmanager
    def keeping_states(self) -> Iterator[None]:
        """Compute what lies below the lowest edited layer once per text while this lasts.

        `trace_texts` alone reads these states, and always does, so that a turn that is computed
        again begins from the same bits. Where the model cannot be cut there, it runs whole.
        A CPU that is faster in float32 computes in it.
        """
        hold = held if self._fetched else None
        self._states = trace.trunk_of(self._blocks, list(self._modules), hold=hold, padded=True)
        try:
            with in_float32(self.language_model.model):
                yield
        finally:
            if self._states is not None:
                self._states.close()
            self._states = None

    def fingerprint(self) -> str:
        """Name of the model's weights as they are now."""
        return fingerprint(self.language_model.model)

    def weight_gradients(
        self,
        edits: Sequence[Edit],
        weights: Mapping[str, Tensor],
        *,
        at: SupervisedAt = "answer",
        end_token: bool = False,
    ) -> WeightGradients:
        """Losses of edits with gradients at weights that take the place of the current ones.

        Raises:
            ConfigError: If an end token is asked for and the tokenizer has none.
        """
        items = self.encode([(edit.prompt, edit.target) for edit in edits])
        if at == "last-prompt-released":
            wanted = released_targets(
                self.language_model.tokenizer, [edit.target for edit in edits]
            )
            items = [Encoded(i.prompt_ids, ids) for i, ids in zip(items, wanted, strict=True)]
        if end_token:
            items = [Encoded(i.prompt_ids, (*i.answer_ids, self._end_token())) for i in items]
        modules = {path: self._modules[path] for path in weights}
        with self.weights.replaced(weights):
            return trace.weight_gradients(self.language_model.model, modules, items, at)

    def _end_token(self) -> int:
        end = self.language_model.tokenizer.eos_token_id
        if end is None:
            raise ConfigError(
                f"The tokenizer of {self.language_model.name} has no end-of-text token. "
                "Set end_token=false."
            )
        return int(end)

    def second_moment(self, path: str) -> SecondMoment:
        """Second moment of an edited layer's inputs in the *unedited* model, over a text.

        The first call collects those of all edited layers, which are then kept.

        Raises:
            ConfigError: If the host was given no statistics.
        """
        if not self._moments:
            if self._statistics is None:
                raise ConfigError(
                    "This editor needs second-moment statistics and the host has none. Give "
                    "ModelHost statistics=OfPrompts(prompts), or those of a corpus."
                )
            with self.weights.unedited():
                self._moments = self._statistics.moments(self.language_model, self._modules)
        return self._moments[path]

    def change(self, path: str) -> Tensor:
        """Accumulated change of an edited layer, float32, (d_in, d_out). Not to be written."""
        return self.weights.changes[path]

    def asked_change(self, path: str) -> Tensor:
        """Change of an edited layer in the model as it is asked now. float32, (d_in, d_out).

        Within `viewed` that is the view's: PRUNE's restrained change, and of the memories of WISE
        the one that is furthest from the unedited weight. Not to be written.
        """
        memories = self._memories.get(path, ())
        return max(memories, key=lambda change: float(change.norm()), default=self.change(path))

    def asked_norms(self) -> dict[str, float]:
        """Per module Frobenius norm of `asked_change` over that of the unedited weight."""
        return {
            path: self.weights.relative_change(path, self.asked_change(path))
            for path in self.modules
        }

    def hold(
        self,
        path: str,
        pairs: Sequence[tuple[str, str]],
        *,
        beside: Sequence[tuple[str, str]] | None = None,
        keep: bool = False,
    ) -> trace.HeldRows:
        """Run prompts and answers up to an edited layer, to go on from there again and again.

        Args:
            path: The layer. What is below the decoder layer that it is in must be unedited.
            pairs: Prompts and answers. At least one.
            beside: As in `types.Host`; `trace.HeldTogether` then.
            keep: Whether the same pairs will be held again.
        """
        items = self.encode(pairs)
        if path not in self._held_below:
            below = trace.trunk_of(self._blocks, [path], hold=held if self._fetched else None)
            works = below is not None and below.works_for(items)
            self._held_below[path] = below if works else None
        model, below = self.language_model.model, self._held_below[path]
        if beside is not None:
            tokenizer, longest = self.language_model.tokenizer, self.language_model.context_length
            rows = together(tokenizer, pairs, beside, max_length=longest)
            return trace.HeldTogether(model, self._modules[path], rows, len(pairs), below)
        return trace.HeldRows(model, self._modules[path], items, below, keep=keep)

    def activation(self) -> Callable[[Tensor], Tensor]:
        """The nonlinearity of the model's MLPs.

        Raises:
            ConfigError: If the model's config does not name it.
        """
        return activation_of(self.language_model.config)[1]

    def patched(self, patch: View) -> AbstractContextManager[None]:
        """The model as if a patch were applied too, and exactly as it was afterwards.

        A `Routed` takes the place of what was applied; an `Additive` comes on top of it; a
        `Recalled` is read in front of what `predict`, `logits` and `answer` ask.
        """
        return self.weights.applied(patch) if isinstance(patch, Additive) else self._laid(patch)

    @contextmanager
    def _laid(self, view: Routed | Recalled) -> Iterator[None]:
        before = self._memories
        if isinstance(view, Routed):
            self._memories = {view.path: [memory.change for memory in view.memories]}
        try:
            with laid_over(self.language_model, self.weights, view):
                yield
        finally:
            self._memories = before

    @contextmanager
    def viewed(self, editor: Editor, state: State) -> Iterator[None]:
        """The model as an editor wants it asked, and exactly as it was afterwards.

        Nothing but the model itself for editors without a `view`, as most are.
        """
        if isinstance(editor, ViewingEditor):
            with self.patched(editor.view(self, state)):
                yield
        else:
            yield

    def logits(self, items: Sequence[Encoded]) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Logits at the answer tokens, batch after batch, as `trace.answer_logits`."""
        items = as_read(self.language_model.model, items)
        return trace.answer_logits(self.language_model.model, items, self._trunk_of(items))

    def predict(
        self,
        items: Sequence[Encoded],
        observer: Observer | None = None,
        *,
        keep: bool = True,
    ) -> list[tuple[int, ...]]:
        """The model's top choice at every supervised position, as `trace.top_choices`."""
        items = as_read(self.language_model.model, items)
        trunk = self._trunk_of(items)
        return trace.top_choices(self.language_model.model, items, trunk, observer, keep=keep)

    def loss(self, items: Sequence[Encoded]) -> float:
        """Mean cross-entropy of all supervised tokens, in nats, of texts: no fact goes in front.

        NaN counts as infinite.
        """
        return trace.mean_loss(self.language_model.model, items, self._trunk_of(items))

    def answer(
        self,
        prompts: Sequence[str],
        max_new_tokens: Sequence[int],
        observer: Observer | None = None,
        lines: Sequence[int] | None = None,
    ) -> list[str]:
        """Generate answers greedily, to the end of its lines or of its tokens."""
        return generate(
            self.language_model,
            prompts,
            max_new_tokens=max_new_tokens,
            lines=lines,
            observer=observer,
        )

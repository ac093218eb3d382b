"""The model, its edited weights and its tokenizer, as one thing that can be edited and asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ultraedit import trace
from ultraedit.encoding import Encoded, encode
from ultraedit.errors import ConfigError
from ultraedit.models import find_modules
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.generation import generate
from ultraedit.models.modules import shape_of
from ultraedit.patch import EditedWeights
from ultraedit.types import (
    Edit,
    GradientSink,
    Judgement,
    LayerSignal,
    LossTerm,
    Master,
    ModuleShape,
    Observer,
    Patch,
    SecondMoment,
    SupervisedAt,
    Tokens,
    Turn,
    WeightGradients,
)

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel
    from ultraedit.second_moments import Statistics


class ModelHost:
    """What `types.Host` promises to editors, over a loaded language model.

    Editors see signals and shapes; the loop also sees `weights`, evaluation also `predict` and
    `answer`.
    """

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
            ConfigError: If a pattern matches nothing that can be edited.
        """
        self.language_model = language_model
        self._modules = (
            {}
            if patterns is None
            else find_modules(language_model.model, patterns, name=language_model.name)
        )
        self.weights = EditedWeights(self._modules, master)
        self._statistics = statistics
        self._moments: dict[str, SecondMoment] = {}

    @property
    def modules(self) -> Mapping[str, ModuleShape]:
        """The edited layers by path, in the order in which they were chosen."""
        return {path: shape_of(module) for path, module in self._modules.items()}

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Tokenize prompts and answers, refusing what the model cannot read whole."""
        return encode(
            self.language_model.tokenizer, pairs, max_length=self.language_model.context_length
        )

    def signals(self, turn: Turn, tokens: Tokens = "answer") -> dict[str, LayerSignal]:
        """Run the turn's edits forward and backward at the current weights, changing nothing."""
        items = self.encode([(edit.prompt, edit.target) for edit in turn.edits])
        return trace.layer_signals(self.language_model.model, self._modules, items, tokens)

    def weight(self, path: str) -> Tensor:
        """Current weight of an edited layer, float32, shape (d_in, d_out). Not to be written."""
        return self.weights.weight(path)

    def judge(
        self, patch: Patch, terms: Sequence[LossTerm], sink: GradientSink | None = None
    ) -> list[Judgement]:
        """Value of each term as if a patch were applied, and gradients at the patched weights."""
        model, modules = self.language_model.model, self._modules
        return [
            trace.judge(model, modules, patch, term, self.encode(term.pairs), sink)
            for term in terms
        ]

    def holding(self, patch: Patch) -> AbstractContextManager[None]:
        """Be, for a while, the model with a patch applied."""
        return self.weights.applied(patch)

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

    @torch.no_grad()
    def predict(
        self, items: Sequence[Encoded], observer: Observer | None = None
    ) -> list[tuple[int, ...]]:
        """The model's top choice at every supervised position, under teacher forcing.

        Args:
            items: Encoded questions with their answers.
            observer: Told of each answer.

        Returns:
            Per item as many token ids as its answer has.
        """
        predicted: list[tuple[int, ...]] = [()] * len(items)
        model = self.language_model.model
        for indices, batch in trace.batches(model, items):
            chosen = trace.supervised_logits(model, batch).argmax(dim=-1).cpu()
            sizes = [len(items[index].answer_ids) for index in indices]
            for index, ids in zip(indices, torch.split(chosen, sizes), strict=True):
                predicted[index] = tuple(ids.tolist())
            if observer is not None:
                observer.advance(len(indices))
        return predicted

    def answer(
        self,
        prompts: Sequence[str],
        max_new_tokens: Sequence[int],
        observer: Observer | None = None,
    ) -> list[str]:
        """Let the model answer freely: greedy, to the end of the line or of its tokens."""
        return generate(
            self.language_model, prompts, max_new_tokens=max_new_tokens, observer=observer
        )

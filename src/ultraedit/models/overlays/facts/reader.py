r"""A model that reads facts in front of the questions about them, its weights left alone.

What such a model is given, where P_1 T_1 is the best match, behind what its tokenizer puts first:

    New Fact: P_k T_k
    ...
    New Fact: P_1 T_1
    Prompt: question

The tokens of the question are those that it has by itself. A question that no fact matches is read
as it is. The format is that of IKE (Zheng et al. 2023, https://arxiv.org/abs/2305.12740) without
its further examples; see the card in docs/editors.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ultraedit.core.encoding import Encoded, added_tokens, seam
from ultraedit.core.types import Recalled
from ultraedit.models import attached
from ultraedit.models.attached import Overlay, detach, overlays_on
from ultraedit.models.overlays.facts.selection import Embed, FactLookup

FACT = "New Fact: {prompt} {target}\n"
"""How a fact is written."""

QUESTION = "Prompt: "
"""What then stands before the question."""


class Recall(Overlay):
    """Puts facts in front of questions, token ids in front of token ids."""

    def __init__(
        self,
        view: Recalled,
        tokenizer: Any,
        context_length: int | None,
        embed: Embed | None = None,
    ) -> None:
        """Index the facts.

        Args:
            view: The facts, and how they are chosen.
            tokenizer: The model's.
            context_length: Longest text that the model takes, in tokens; None for no limit.
            embed: The encoder that the view names.
        """
        self.view = view
        self._tokenizer = tokenizer
        self._context_length = context_length
        prompts = [prompt for prompt, _ in view.facts]
        self._facts = FactLookup(prompts, view.ordinary, view.subjects, embed)
        self._first = len(added_tokens(tokenizer).front)
        self._question = self._tokens(QUESTION)

    def item(self, item: Encoded) -> Encoded:
        """A question with its answer, as this model reads it; the answer stays what it is."""
        return Encoded(self.prompt(item.prompt_ids, len(item.answer_ids)), item.answer_ids)

    def prompt(self, ids: Sequence[int], answer_tokens: int) -> tuple[int, ...]:
        """A question as this model reads it: what matches it, and the question itself.

        Where the context has no room for all, the facts that match least are left out.

        Args:
            ids: The question as the tokenizer gives it.
            answer_tokens: Room to leave behind it.
        """
        question = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        matches = self._facts.find(question, k=self.view.k, threshold=self.view.threshold)
        length = self._context_length
        room = None if length is None else length - answer_tokens - len(ids)
        front = self._question
        for match in matches:
            prompt, answer = seam(*self.view.facts[match.fact])
            fact = FACT.format(prompt=prompt, target=answer.strip())
            longer = self._tokens(fact) + front
            if room is not None and len(longer) > room:
                break
            front = longer
        if front is self._question:
            return tuple(ids)
        return (*ids[: self._first], *front, *ids[self._first :])

    def _tokens(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def identity(self) -> Iterator[bytes | Tensor]:
        """The facts, and how they are chosen."""
        yield repr(self.view).encode()

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Let a model be asked with these facts for a while."""
        attach(model, self)
        try:
            yield
        finally:
            detach(model, self)


def attach(model: nn.Module, recall: Recall) -> None:
    """Let a model be asked with facts from now on, and with no others."""
    others = recall_of(model)
    if others is not None:
        detach(model, others)
    attached.attach(model, recall)


def recall_of(model: nn.Module) -> Recall | None:
    """The facts that a model is asked with; None where it has none beside its weights."""
    return next((each for each in overlays_on(model) if isinstance(each, Recall)), None)


def as_read(model: nn.Module, items: Sequence[Encoded]) -> Sequence[Encoded]:
    """Questions with their answers as a model reads them: with facts in front if it has any."""
    recall = recall_of(model)
    return items if recall is None else [recall.item(item) for item in items]

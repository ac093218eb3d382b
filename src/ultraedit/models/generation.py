"""Free greedy answers, in batches, stopped at the end of the answer's last line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ultraedit.core.encoding import prompt_ids
from ultraedit.core.errors import DataError
from ultraedit.core.types import Observer
from ultraedit.core.writing_systems import answer_lines
from ultraedit.models.overlays.facts import recall_of

if TYPE_CHECKING:
    from ultraedit.models.language_model import LanguageModel

MAX_BATCH_TOKENS = 2048
"""Tokens of one batch of prompts, padding included."""


@torch.no_grad()
def generate(
    language_model: LanguageModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: Sequence[int],
    lines: Sequence[int] | None = None,
    observer: Observer | None = None,
) -> list[str]:
    r"""Continue each prompt greedily until its answer ends.

    An answer ends with the model's end token, with its last line (empty lines aside), or after its
    `max_new_tokens`.

    Args:
        language_model: The loaded model.
        prompts: What to continue.
        max_new_tokens: Most tokens to add, per prompt.
        lines: How many lines with any text each answer may have. None takes one line each.
        observer: Told of each answer.

    Returns:
        What was added to each prompt, without special tokens and the white space around its lines,
        which have a ``\n`` between them.

    Raises:
        DataError: If a prompt fills the model's context, or has no token at all.
    """
    tokenizer = language_model.tokenizer
    ids: list[Sequence[int]] = [*prompt_ids(tokenizer, prompts)]
    for prompt, row in zip(prompts, ids, strict=True):
        _check(prompt, len(row), language_model.context_length)
    recall = recall_of(language_model.model)
    if recall is not None:  # The facts that this model reads in front of its questions.
        ids = [recall.prompt(row, most) for row, most in zip(ids, max_new_tokens, strict=True)]
    lines = [1] * len(prompts) if lines is None else lines
    answers = [""] * len(prompts)
    lengths = [len(row) for row in ids]
    model = language_model.model
    with _contiguous_head(model), _plain_settings(model) as own:
        end = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        for batch in _batches(lengths, max_new_tokens, language_model.context_length):
            limits = [max_new_tokens[index] for index in batch]
            ends = _EndOfAnswer(tokenizer, limits, [lines[index] for index in batch])
            added = _continue(language_model, [ids[index] for index in batch], ends, end)
            for index, row, limit in zip(batch, added, limits, strict=True):
                # A model without an end token goes on with a row that was stopped.
                text = tokenizer.decode(row[:limit], skip_special_tokens=True)
                answers[index] = answer_lines(text, lines[index])
            if observer is not None:
                observer.advance(len(batch))
    return answers


@torch.no_grad()
def greedy_tokens(
    language_model: LanguageModel, rows: Sequence[Sequence[int]], max_new_tokens: int
) -> list[tuple[int, ...]]:
    """Continue token ids greedily, whatever they say: over ends of lines, up to an end token.

    Args:
        language_model: The loaded model.
        rows: What to continue, in token ids.
        max_new_tokens: Most tokens to add to each.

    Returns:
        The tokens added, with the end token where one was reached. Empty for a row that fills the
        context.
    """
    return _added_tokens(language_model, rows, max_new_tokens, sample=False)


def sampled_tokens(
    language_model: LanguageModel, rows: Sequence[Sequence[int]], max_new_tokens: int, seed: int
) -> list[tuple[int, ...]]:
    """Continue token ids as the model's own distribution has it, at temperature 1.

    Args:
        language_model: The loaded model.
        rows: What to continue, in token ids.
        max_new_tokens: Most tokens to add to each.
        seed: What is drawn; the random state of the process stays as it is.

    Returns:
        As `greedy_tokens`.
    """
    device = language_model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return _added_tokens(language_model, rows, max_new_tokens, sample=True)


def _added_tokens(
    language_model: LanguageModel,
    rows: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    sample: bool,
) -> list[tuple[int, ...]]:
    """Tokens that a model adds to rows, each up to its end token."""
    context = language_model.context_length or sys.maxsize
    model, tokenizer = language_model.model, language_model.tokenizer
    answers: list[tuple[int, ...]] = [()] * len(rows)
    with _contiguous_head(model), _plain_settings(model) as own:
        end = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        ends = set(end) if isinstance(end, list) else {end}
        fitting = [index for index, row in enumerate(rows) if len(row) + max_new_tokens <= context]
        lengths = [len(rows[index]) for index in fitting]
        for batch in _batches(lengths, [max_new_tokens] * len(lengths), context):
            chosen = [fitting[place] for place in batch]
            limits = _EndOfAnswer(
                tokenizer, [max_new_tokens] * len(batch), [sys.maxsize] * len(batch)
            )
            added = _continue(language_model, [rows[i] for i in chosen], limits, end, sample=sample)
            for index, row in zip(chosen, added.tolist(), strict=True):
                stop = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
                answers[index] = tuple(row[:stop])
    return answers


@contextmanager
def _contiguous_head(model: Any) -> Iterator[None]:
    """Hand the output head a contiguous input.

    The slice of the last position is a strided view, for which torch copies the head's weight once
    per row: 3.4 GiB and two thirds of the time for 64 prompts of SmolLM2 in bfloat16.
    """
    handle = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: (args[0].contiguous(), *args[1:])
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _plain_settings(model: Any) -> Iterator[Any]:
    """Hide the model's own generation settings, which would fill in what ours leave open.

    The repetition penalty that Qwen2.5 ships, for one, changes what greedy decoding chooses.

    Yields:
        The model's own settings.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield own
    finally:
        model.generation_config = own


def _check(prompt: str, length: int, context_length: int | None) -> None:
    shown = prompt if len(prompt) <= 60 else f"{prompt[:57]}..."
    if length == 0:
        raise DataError(f"The tokenizer finds no token in the prompt {shown!r}.")
    if context_length is not None and length >= context_length:
        raise DataError(
            f"The prompt {shown!r} is {length} tokens long, but the model reads at most "
            f"{context_length} with its answer. Shorten it, or take a model with a longer context."
        )


def _batches(
    lengths: Sequence[int], limits: Sequence[int], context_length: int | None
) -> Iterator[list[int]]:
    """Indices in batches whose answers, then whose prompts, may be of similar length.

    Only a batch of one prompt may leave less room in the context than its limit: a shorter prompt
    beside it would be cut short with it.
    """
    context = context_length or sys.maxsize
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (limits[i], lengths[i]), reverse=True):
        longest = max(longest, lengths[index]) if batch else lengths[index]
        cramped = bool(batch) and longest + limits[batch[0]] > context
        if batch and (cramped or (len(batch) + 1) * longest > MAX_BATCH_TOKENS):
            yield batch
            batch, longest = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch


def _continue(
    language_model: LanguageModel,
    rows: Sequence[Sequence[int]],
    ends: _EndOfAnswer,
    end: int | list[int] | None,
    *,
    sample: bool = False,
) -> Tensor:
    """New token ids after left-padded rows. Shape (rows, at most the largest limit)."""
    from transformers import GenerationConfig, StoppingCriteriaList

    tokenizer: Any = language_model.tokenizer
    model: Any = language_model.model
    length = max(len(row) for row in rows)
    language_model.require_known(rows)
    first_end = end[0] if isinstance(end, list) else end
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else first_end or 0
    if padding >= language_model.vocabulary:  # It is masked: any token does.
        padding = 0
    input_ids = torch.full((len(rows), length), padding)
    attention_mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, length - len(row) :] = torch.tensor(row)
        attention_mask[index, length - len(row) :] = 1
    room = (language_model.context_length or sys.maxsize) - length
    output: Tensor = model.generate(
        input_ids=input_ids.to(language_model.device),
        attention_mask=attention_mask.to(language_model.device),
        generation_config=GenerationConfig(
            max_new_tokens=min(room, max(ends.limits)),
            do_sample=sample,
            top_k=0 if sample else None,
            eos_token_id=end,
            pad_token_id=padding,
        ),
        stopping_criteria=StoppingCriteriaList([partial(ends, length)]),
    )
    return output[:, length:].cpu()


class _EndOfAnswer:
    """Stops a row once it has written its lines to their end, or as much as it may."""

    def __init__(self, tokenizer: Any, limits: Sequence[int], lines: Sequence[int]) -> None:
        self.limits = limits
        self._tokenizer = tokenizer
        self._lines = lines

    def __call__(self, prompt_length: int, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        added = input_ids[:, prompt_length:]
        texts = self._tokenizer.batch_decode(added, skip_special_tokens=True)
        done = [
            added.shape[1] >= limit or _ended_lines(text) >= lines
            for text, limit, lines in zip(texts, self.limits, self._lines, strict=True)
        ]
        return torch.tensor(done, device=input_ids.device)


def _ended_lines(text: str) -> int:
    """How many lines with something on them are written to their end."""
    return sum(bool(line.strip()) for line in text.split("\n")[:-1])

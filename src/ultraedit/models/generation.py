"""Free greedy answers, in batches, stopped at the end of the answer's line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ultraedit.models.loading import LanguageModel

MAX_BATCH_TOKENS = 2048
"""Tokens of one batch of prompts, padding included."""


@torch.no_grad()
def generate(
    language_model: LanguageModel, prompts: Sequence[str], *, max_new_tokens: int
) -> list[str]:
    """Continue each prompt greedily until its answer ends.

    An answer ends with the model's end token, with the line (leading empty lines aside), or
    after `max_new_tokens`.

    Args:
        language_model: The loaded model.
        prompts: What to continue.
        max_new_tokens: Most tokens to add.

    Returns:
        What was added to each prompt, without special tokens and surrounding white space.
    """
    tokenizer = language_model.tokenizer
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    answers = [""] * len(prompts)
    for batch in _batches([len(row) for row in ids]):
        added = _continue(language_model, [ids[index] for index in batch], max_new_tokens)
        for index, row in zip(batch, added, strict=True):
            text = tokenizer.decode(row, skip_special_tokens=True).strip()
            answers[index] = text.splitlines()[0].strip() if text else ""
    return answers


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > MAX_BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _continue(
    language_model: LanguageModel, rows: Sequence[Sequence[int]], max_new_tokens: int
) -> Tensor:
    """New token ids after left-padded rows. Shape (rows, at most max_new_tokens)."""
    from transformers import GenerationConfig, StoppingCriteriaList

    tokenizer: Any = language_model.tokenizer
    model: Any = language_model.model
    length = max(len(row) for row in rows)
    end = model.generation_config.eos_token_id
    if end is None:
        end = tokenizer.eos_token_id
    first_end = end[0] if isinstance(end, list) else end
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else first_end or 0
    input_ids = torch.full((len(rows), length), padding)
    attention_mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, length - len(row) :] = torch.tensor(row)
        attention_mask[index, length - len(row) :] = 1
    output: Tensor = model.generate(
        input_ids=input_ids.to(language_model.device),
        attention_mask=attention_mask.to(language_model.device),
        generation_config=GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=end, pad_token_id=padding
        ),
        stopping_criteria=StoppingCriteriaList([_EndOfLine(tokenizer, length)]),
    )
    return output[:, length:].cpu()


class _EndOfLine:
    """Stops a row once it has written a line with something on it."""

    def __init__(self, tokenizer: Any, prompt_length: int) -> None:
        self._tokenizer = tokenizer
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        texts = self._tokenizer.batch_decode(input_ids[:, self._prompt_length :])
        done = ["\n" in text.lstrip() for text in texts]
        return torch.tensor(done, device=input_ids.device)

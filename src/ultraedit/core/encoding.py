"""Prompts and targets as token ids, and batches of them by tokens rather than by rows.

The layout is that of the released code: the model reads the prompt and all answer tokens but
the last, and is supervised at the last prompt token and at each of those answer tokens, so
that every answer token is predicted exactly once.

This is the one place where a prompt becomes tokens, for editing, scoring and free generation alike.
What a tokenizer appends to every text, such as an end token, is taken off: the answer comes next. A
blank at the end of a prompt is moved to the front of the answer, where tokenizers have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Encoded as Encoded
from ultraedit.core.types import Lookup
from ultraedit.core.writing_systems import BLANKS

_ANY_TEXT = "a"


class Added(NamedTuple):
    """Token ids that a tokenizer puts around every text by itself."""

    front: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()


def added_tokens(tokenizer: Any) -> Added:
    """What a tokenizer puts around every text: ``<s>`` in front, and ``</s>`` behind it with some.

    Args:
        tokenizer: A transformers tokenizer, or anything that is called like one.
    """
    whole = tuple(tokenizer(_ANY_TEXT)["input_ids"])
    plain = tuple(tokenizer(_ANY_TEXT, add_special_tokens=False)["input_ids"])
    for at in range(len(whole) - len(plain) + 1) if plain else ():
        if whole[at : at + len(plain)] == plain:
            return Added(whole[:at], whole[at + len(plain) :])
    return Added()


def names_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """Tokens as a reader knows them, with commas between them."""
    return ", ".join(map(str, tokenizer.convert_ids_to_tokens(list(ids))))


def about_appended(tokenizer: Any) -> str | None:
    """A sentence on what a tokenizer appends to every text; None if it is nothing."""
    behind = added_tokens(tokenizer).behind
    if not behind:
        return None
    return (
        f"The tokenizer puts {names_of(tokenizer, behind)} behind every text. It is taken off "
        "prompts, since the answer comes there."
    )


def text_ids(tokenizer: Any, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of texts that go on: with what the tokenizer puts in front, not what it appends.

    Args:
        tokenizer: A transformers tokenizer, or anything that is called like one.
        texts: The texts.
    """
    rows = tokenizer(list(texts))["input_ids"] if texts else []
    behind = added_tokens(tokenizer).behind
    return [_without(tuple(row), behind) for row in rows]


def prompt_ids(tokenizer: Any, prompts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of prompts as a model reads them before its answer.

    They are those of `text_ids` without the blanks at the end.

    Args:
        tokenizer: A transformers tokenizer, or anything that is called like one.
        prompts: The prompts.
    """
    return text_ids(tokenizer, [_trimmed(prompt) for prompt in prompts])


def _without(ids: tuple[int, ...], behind: tuple[int, ...]) -> tuple[int, ...]:
    """Token ids without those that were appended."""
    return ids[: -len(behind)] if behind and ids[-len(behind) :] == behind else ids


def _trimmed(prompt: str) -> str:
    """A prompt without the blanks at its end; one of nothing but blanks stays as it is."""
    return prompt.rstrip(BLANKS) or prompt


def seam(prompt: str, answer: str, gap: str = " ") -> tuple[str, str]:
    """A prompt and its answer with one gap between them, which belongs to the answer.

    A prompt that ends in a blank, and an answer with white space around it, would have the model
    trained on a lone blank token, which it hardly ever sees before a word.

    Args:
        prompt: The prompt.
        answer: The answer.
        gap: What the answer begins with; where it is nothing, a blank that ends the prompt is.
    """
    trimmed = _trimmed(prompt)
    gap = gap or (" " if trimmed != prompt else "")
    return trimmed, f"{gap}{answer.strip()}"


def encode(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    max_length: int | None = None,
    gap: str = " ",
) -> list[Encoded]:
    """Tokenize prompts and answers separately, as the released code does.

    Args:
        tokenizer: A transformers tokenizer, or anything that is called like one.
        pairs: Prompts and answers.
        max_length: Longest input that the model takes, in tokens.
        gap: What an answer begins with, as in `seam`.

    Returns:
        One `Encoded` per pair, in order.

    Raises:
        DataError: If a pair is longer than `max_length`, or has no token of its own.
    """
    if not pairs:
        return []
    texts = [seam(prompt, answer, gap) for prompt, answer in pairs]
    prompts = text_ids(tokenizer, [prompt for prompt, _ in texts])
    answers = tokenizer([answer for _, answer in texts], add_special_tokens=False)["input_ids"]
    encoded = [Encoded(p, tuple(a)) for p, a in zip(prompts, answers, strict=True)]
    for (prompt, answer), item in zip(pairs, encoded, strict=True):
        shown = prompt if len(prompt) <= 60 else f"{prompt[:57]}..."
        if not item.prompt_ids or not item.answer_ids:
            raise DataError(f"The tokenizer finds no token in {shown!r} with answer {answer!r}.")
        if max_length is not None and len(item) > max_length:
            raise DataError(
                f"The prompt {shown!r} with its answer is {len(item)} tokens long, but the model "
                f"reads at most {max_length}. Shorten it, or take a model with a longer context."
            )
    return encoded


def released_targets(tokenizer: Any, targets: Sequence[str]) -> list[tuple[int, ...]]:
    """Tokens that the released codes of FT-L want, all of them at the last token of the prompt.

    The answers of a batch are tokenized like texts of their own, so that the tokenizer's special
    tokens, such as a BOS, are among what is wanted, and padded to the longest: of the padding, as
    of all tokens, only the unknown one is left out.

    Args:
        tokenizer: A transformers tokenizer.
        targets: The answers of one batch.

    Returns:
        Token ids by answer.

    Raises:
        DataError: If an answer has none but the unknown one.
    """
    ids = [tuple(each) for each in tokenizer([f" {target}" for target in targets])["input_ids"]]
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    longest = max(map(len, ids))
    wanted = []
    for target, each in zip(targets, ids, strict=True):
        padded = each if pad is None else each + (pad,) * (longest - len(each))
        kept = tuple(token for token in padded if token != tokenizer.unk_token_id)
        if not kept:
            raise DataError(f"The tokenizer knows no token of the answer {target!r}.")
        wanted.append(kept)
    return wanted


class Together(NamedTuple):
    """Rows of one batch as the released code of WISE lays them out: padded on the left."""

    input_ids: tuple[tuple[int, ...], ...]
    """Whole texts, padding in front of them, all of one length P: (rows, P)."""

    padding: tuple[int, ...]
    """Columns of padding of each row."""

    wanted_from: tuple[int, ...]
    """First column that is wanted, by row; P where nothing is."""


def together(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    beside: Sequence[tuple[str, str]],
    *,
    max_length: int | None = None,
) -> Together:
    """Tokenize rows as the released code of WISE does, with its label mask.

    A prompt and its answer are tokenized as one text. The mask leaves out as many *columns* as the
    longest prompt has tokens: where another row is longer than the longest of these, the last
    tokens of the prompts are wanted too.

    Args:
        tokenizer: A transformers tokenizer.
        pairs: Prompts and answers.
        beside: Texts of which nothing is wanted, cut in two.
        max_length: Longest input that the model takes, in tokens.

    Raises:
        DataError: If a row is longer than `max_length`.
    """
    texts = [f"{prompt} {answer}" for prompt, answer in (*pairs, *beside)]
    rows = [tuple(ids) for ids in tokenizer(texts)["input_ids"]]
    longest = max(map(len, rows))
    if max_length is not None and longest > max_length:
        raise DataError(
            f"A prompt after its context is {longest} tokens long with its answer, but the model "
            f"reads at most {max_length}. Shorten it, or take a model with a longer context."
        )
    prompts = max(len(ids) for ids in tokenizer([prompt for prompt, _ in pairs])["input_ids"])
    ends = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    pad = next(token for token in ends if token is not None)
    padding = tuple(longest - len(ids) for ids in rows)
    return Together(
        tuple((pad,) * count + ids for count, ids in zip(padding, rows, strict=True)),
        padding,
        tuple(max(prompts, count, 1) for count in padding[: len(pairs)]) + (longest,) * len(beside),
    )


def locate(
    tokenizer: Any, lookups: Sequence[Lookup], *, max_length: int | None = None
) -> list[tuple[tuple[int, ...], int]]:
    """Tokenize texts and find the last token of a span in each, by character offsets.

    Args:
        tokenizer: A fast transformers tokenizer.
        lookups: Texts and spans.
        max_length: Longest text that the model takes, in tokens.

    Returns:
        Per lookup the token ids of the whole text, as `prompt_ids` has them, and the index of the
        last token that holds a character of the span.

    Raises:
        ConfigError: If the tokenizer does not know where its tokens are.
        DataError: If a text is longer than `max_length`, or no token holds the span.
    """
    if not lookups:
        return []
    if not tokenizer.is_fast:
        raise ConfigError(
            "This editor looks at the subject of a prompt and needs a fast tokenizer, which knows "
            "where its tokens are. Take a model with a tokenizer.json."
        )
    texts = [_trimmed(lookup.text) for lookup in lookups]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    behind = added_tokens(tokenizer).behind
    located = []
    for lookup, whole, offsets in zip(
        lookups, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        ids = _without(tuple(whole), behind)
        shown = lookup.text if len(lookup.text) <= 60 else f"{lookup.text[:57]}..."
        if max_length is not None and len(ids) > max_length:
            raise DataError(
                f"{shown!r} is {len(ids)} tokens long, but the model reads at most {max_length}."
            )
        inside = [
            index
            for index, (start, end) in enumerate(offsets[: len(ids)])
            if start < lookup.end and end > lookup.start
        ]
        if not inside:
            span = lookup.text[lookup.start : lookup.end]
            raise DataError(f"The tokenizer finds no token for {span!r} in {shown!r}.")
        located.append((ids, inside[-1]))
    return located


class Batch(NamedTuple):
    """Right-padded rows and the places where they are supervised."""

    input_ids: Tensor
    """Shape (rows, length), padded with 0."""

    attention_mask: Tensor
    """Shape (rows, length); where a row holds several texts, what is added to the scores of
    attention, (rows, 1, length, length)."""

    positions: Tensor
    """Supervised positions in the flattened batch, row after row. Shape (n,)."""

    labels: Tensor
    """Answer token expected at each of them. Shape (n,)."""

    rows: Tensor
    """Row of the batch that each of them belongs to. Shape (n,)."""

    position_ids: Tensor | None = None
    """Place of each token in its text, where a row holds several. Shape (rows, length)."""

    @property
    def asked(self) -> Tensor:
        """Which tokens are the prompts'. bool, shape (rows, length)."""
        rows, length = self.input_ids.shape
        last = torch.full((rows,), length, device=self.positions.device)
        last = last.scatter_reduce(0, self.rows, self.positions % length, "amin")
        return torch.arange(length, device=last.device) <= last[:, None]

    def to(self, device: torch.device | str) -> Batch:
        """Copy every tensor to a device."""
        return Batch(*(each if each is None else each.to(device) for each in self))  # type: ignore[arg-type]


def collate(items: Sequence[Encoded]) -> Batch:
    """Pad encoded pairs to the longest of them."""
    length = max(len(item) for item in items)
    input_ids = torch.zeros(len(items), length, dtype=torch.long)
    attention_mask = torch.zeros(len(items), length, dtype=torch.long)
    positions: list[int] = []
    labels: list[int] = []
    rows: list[int] = []
    for row, item in enumerate(items):
        input_ids[row, : len(item)] = torch.tensor(item.input_ids)
        attention_mask[row, : len(item)] = 1
        first = row * length + len(item.prompt_ids) - 1
        positions.extend(range(first, first + len(item.answer_ids)))
        labels.extend(item.answer_ids)
        rows.extend([row] * len(item.answer_ids))
    return Batch(
        input_ids, attention_mask, torch.tensor(positions), torch.tensor(labels), torch.tensor(rows)
    )


def longest_first(items: Sequence[Encoded]) -> list[int]:
    """Indices of the items by length, longest first, ties in their given order."""
    return sorted(range(len(items)), key=lambda index: -len(items[index]))


def token_batches(
    items: Sequence[Encoded], *, max_tokens: int, max_answer_tokens: int
) -> Iterator[list[int]]:
    """Cut items into batches of similar length, each within both budgets.

    Args:
        items: What to batch.
        max_tokens: Most tokens of a batch, padding included. A single longer item stands alone.
        max_answer_tokens: Most supervised tokens of a batch, which bounds its logits.

    Yields:
        Indices into `items`. Taken together they are `longest_first`.
    """
    batch: list[int] = []
    answer_tokens = 0
    for index in longest_first(items):
        longest = len(items[batch[0]]) if batch else 0
        answer_tokens += len(items[index].answer_ids)
        full = (len(batch) + 1) * longest > max_tokens or answer_tokens > max_answer_tokens
        if batch and full:
            yield batch
            batch, answer_tokens = [], len(items[index].answer_ids)
        batch.append(index)
    if batch:
        yield batch

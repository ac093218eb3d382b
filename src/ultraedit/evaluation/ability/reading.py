"""General ability that a small model has: how it reads ordinary text, edited and not.

A model of a hundred million parameters is at chance in the tasks that papers ask, so they cannot
show what edits take from it. These can:

    next-token    share of tokens of ordinary text that are the model's top choice, and the mean
                  KL(p_0 || p) of its distribution from the unedited model's, in nats per token
    last-word     share of passages whose last word, which was read before, it gives to the letter,
                  after Paperno et al. (2016), https://arxiv.org/abs/1606.06031 (LAMBADA)
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from ultraedit.core.encoding import Encoded, encode
from ultraedit.core.errors import DataError
from ultraedit.evaluation.metrics.divergence import divergence, log_probabilities
from ultraedit.host import trace

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

NEXT_TOKEN, LAST_WORD = "next-token", "last-word"
READING = (NEXT_TOKEN, LAST_WORD)
"""The tasks that need a text alone."""

TEXT = "text/wikitext2_test.txt"
"""The text, within the data folder: a passage per line."""

TOKENS = 20_000
"""Tokens of the text that are read."""

PASSAGES = 200
"""Passages whose last word is asked."""

WINDOW = 256
"""Most tokens of a passage that are read."""

SHORTEST = 64
"""Fewest tokens of a passage that is read, and fewest words before a last word."""

CONTEXT = 96
"""Most words before a last word that are read."""

HELD = 100_000_000
"""Most numbers of the unedited model's distributions that are held at a time."""

Unedited = Callable[[], AbstractContextManager[None]]
"""Holds the model as it was before any edit."""


class Read(NamedTuple):
    """How a model did."""

    score: float
    stderr: float | None
    questions: int
    divergence: float | None = None
    """Mean KL from the unedited model, in nats; None where there is no such model."""


def read_passages(root: Path) -> list[str]:
    """Passages of the text, its headings left out.

    Raises:
        DataError: If there is no text.
    """
    path = root / TEXT
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"The tasks {' and '.join(READING)} need ordinary text in {path}: {error.strerror}. "
            "Choose another --data-root, or leave them out."
        ) from None
    passages = [plain(line) for line in lines if line.strip() and not line.strip().startswith("=")]
    if not passages:
        raise DataError(f"{path} has no passage of text. Give one with a passage per line.")
    return passages


def plain(line: str) -> str:
    """A line of WikiText as it was before its words were set apart."""
    line = re.sub(r" @(\W)@ ", r"\1", line.strip()).replace(" n't", "n't")
    line = re.sub(r'" ([^"]*?) "', r'"\1"', line)
    return re.sub(r"(\() | (?=[.,;:!?)%]|'s\b)", r"\1", line)


def windows(model: LanguageModel, passages: Sequence[str], tokens: int = TOKENS) -> list[Encoded]:
    """Passages as token ids, as many as have `tokens` tokens together; each first is given."""
    items: list[Encoded] = []
    total = 0
    for passage in passages:
        ids = model.tokenizer(passage)["input_ids"][: min(WINDOW, tokens - total + 1)]
        if len(ids) >= min(SHORTEST, tokens - total + 1):
            items.append(Encoded((ids[0],), tuple(ids[1:])))
            total += len(ids) - 1
        if total >= tokens:
            break
    return items


def next_token(
    model: LanguageModel,
    passages: Sequence[str],
    unedited: Unedited | None = None,
    tokens: int = TOKENS,
) -> Read:
    """How often the next token is the top choice, and how far the distribution has moved."""
    items = windows(model, passages, tokens)
    shares: list[float] = []
    moved = read = 0.0
    for part in _parts(items, len(model.tokenizer)):
        before = None
        if unedited is not None:
            with unedited():
                before = _distributions(model, part)
        for place, (item, now) in enumerate(zip(part, _distributions(model, part), strict=True)):
            right = now.argmax(dim=-1).cpu() == torch.tensor(item.answer_ids)
            shares.append(float(right.double().mean()))
            if before is not None:
                moved += divergence(before[place], now) * len(right)
            read += len(right)
    sizes = [len(item.answer_ids) for item in items]
    score = sum(s * n for s, n in zip(shares, sizes, strict=True)) / read
    # Tokens of one passage go together: passages are what was drawn (a ratio estimate).
    spread = sum((n * (s - score)) ** 2 for s, n in zip(shares, sizes, strict=True))
    count = len(items)
    error = math.sqrt(spread * count / (count - 1)) / read if count > 1 else None
    return Read(score, error, int(read), None if unedited is None else moved / read)


def _parts(items: Sequence[Encoded], vocabulary: int) -> Iterator[list[Encoded]]:
    """Windows whose distributions are held together."""
    part: list[Encoded] = []
    for item in items:
        size = sum(len(each.answer_ids) for each in (*part, item)) * vocabulary
        if part and size > HELD:
            yield part
            part = []
        part.append(item)
    if part:
        yield part


@torch.no_grad()
def _distributions(model: LanguageModel, items: Sequence[Encoded]) -> list[torch.Tensor]:
    """Log-probabilities at every token of some windows. Shapes (tokens, vocabulary)."""
    rows = [torch.empty(0)] * len(items)
    for indices, logits in trace.answer_logits(model.model, items):
        for index, each in zip(indices, logits, strict=True):
            rows[index] = log_probabilities(each)
    return rows


def endings(passages: Sequence[str], count: int = PASSAGES) -> list[tuple[str, str]]:
    """Passages up to the last word of a sentence, and that word, which stands in them before."""
    pairs = []
    for passage in passages:
        for end in reversed(list(re.finditer(r" ([A-Za-z]{4,})[.]", passage))):
            before, word = passage[: end.start()], end[1]
            known = re.search(rf"\b{word}\b", before) is not None
            if known and len(before.split()) >= SHORTEST:
                pairs.append((before, word))
                break
        if len(pairs) == count:
            break
    return pairs


def last_word(model: LanguageModel, passages: Sequence[str], count: int = PASSAGES) -> Read:
    """Share of passages whose last word is the model's top choice, token by token.

    Raises:
        DataError: If no passage ends in a word that it has before.
    """
    pairs = [
        (" ".join(before.split()[-CONTEXT:]), word) for before, word in endings(passages, count)
    ]
    longest = model.context_length or sys.maxsize
    items = [item for item in encode(model.tokenizer, pairs) if len(item) <= longest]
    if not items:
        raise DataError("No passage of the text ends in a word that it has before. Give a longer.")
    chosen = trace.top_choices(model.model, items, keep=False)
    right = [own == item.answer_ids for own, item in zip(chosen, items, strict=True)]
    score = sum(right) / len(right)
    error = math.sqrt(score * (1 - score) / (len(right) - 1)) if len(right) > 1 else None
    return Read(score, error, len(right))

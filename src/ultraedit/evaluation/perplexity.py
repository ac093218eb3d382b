"""Perplexity on ordinary text: whether a model that has learned facts still reads as it did.

exp(- 1/T sum_t log p(x_t | x_<t))        t over all tokens of the passages but each first one
"""

from __future__ import annotations

import math

from ultraedit.core.encoding import Encoded
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import read_corpus, tokenize

PASSAGES = 100
"""Passages that are read at each evaluation, about ten thousand tokens of Wikipedia."""

COLLAPSED = 1e9
"""Said of any model that is worse: JSON has no infinity. Guessing among a million tokens is 1e6."""

Text = tuple[Encoded, ...]
"""Passages as token ids: each first token is the prompt, what follows the answer."""


def read_text(host: ModelHost, corpus: str | None, passages: int = PASSAGES) -> Text:
    """Draw passages of a text, the same ones whenever it is read.

    Args:
        host: The model, for its tokenizer and the length of its context.
        corpus: A file or a data set on the hub, as `read_corpus` takes it; None for no text.
        passages: How many to draw.

    Raises:
        ConfigError: If there is no such corpus.
        DataError: If it cannot be read, or has no passage.
    """
    if corpus is None:
        return ()
    drawn = read_corpus(corpus, passages).passages
    rows = tokenize(host.language_model, drawn)
    return tuple(Encoded((row[0],), tuple(row[1:])) for row in rows if len(row) > 1)


def perplexity(host: ModelHost, text: Text) -> float | None:
    """Perplexity of the model as it stands, at most `COLLAPSED`; None without a text."""
    return math.exp(min(host.loss(text), math.log(COLLAPSED))) if text else None

"""What a tokenizer does to facts: leading tokens, special tokens, chat template, padding."""

from __future__ import annotations

from typing import Any, NamedTuple

from ultraedit.core.encoding import added_tokens, encode, names_of
from ultraedit.core.errors import UltraEditError
from ultraedit.models.chat import always_thinks, thinking_switches

PROMPT = "The capital of France is"

ANSWERS = ("Paris", "Jane Austen", "1843", "the Danube")
"""Answers that have nothing in common, not even their kind."""


class TokenFact(NamedTuple):
    """One thing that is known about a tokenizer."""

    about: str
    found: str
    """What is the case, and what it means."""

    trouble: bool = False
    """Whether a reader should do something about it."""


def examine_tokenizer(tokenizer: Any, *, vocabulary: int | None = None) -> list[TokenFact]:
    """Look at a tokenizer as editing uses it.

    Args:
        tokenizer: A transformers tokenizer.
        vocabulary: Number of tokens that the model has an embedding for.
    """
    try:
        encoded = encode(tokenizer, [(PROMPT, answer) for answer in ANSWERS])
    except UltraEditError as error:
        return [TokenFact("encoding", str(error), True)]
    return [
        _leading(tokenizer, [item.answer_ids for item in encoded]),
        _special(tokenizer),
        _chat_template(tokenizer),
        _padding(tokenizer),
        _end(tokenizer),
        _fast(tokenizer),
        _size(tokenizer, vocabulary),
    ]


def _leading(tokenizer: Any, answers: list[tuple[int, ...]]) -> TokenFact:
    """Whether all answers begin with one token that says nothing."""
    first = {ids[0] for ids in answers}
    about = 'first token of " " + answer'
    if len(first) > 1:
        return TokenFact(about, "belongs to the answer")
    token = tokenizer.convert_ids_to_tokens(first.pop())
    return TokenFact(
        about,
        f"is {token!r} for every answer: easy to predict, so teacher-forced accuracy is too high, "
        "by half for answers of one further token. Look at free generation too",
        True,
    )


def _special(tokenizer: Any) -> TokenFact:
    about, added = "special tokens of a prompt", added_tokens(tokenizer)
    front = f"{names_of(tokenizer, added.front)} in front, in edits and questions alike"
    if not added.behind:
        return TokenFact(about, front if added.front else "none")
    behind = (
        f"{names_of(tokenizer, added.behind)} behind every text. It is taken off in edits and "
        "questions, since the answer comes there; other programs must take it off too"
    )
    return TokenFact(about, f"{front}, and {behind}" if added.front else behind, True)


def _chat_template(tokenizer: Any) -> TokenFact:
    if not getattr(tokenizer, "chat_template", None):
        return TokenFact("chat template", "none. Facts are written and asked as plain text")
    kind = "there is one"
    if switches := thinking_switches(tokenizer):
        kind += f" with thinking, which the probe chat turns off by {' and '.join(switches)}"
    elif always_thinks(tokenizer):
        kind += " with thinking in every reply, which the probe chat closes at once"
    return TokenFact(
        "chat template", f"{kind}. Facts are written and asked as plain text, without it"
    )


def _padding(tokenizer: Any) -> TokenFact:
    pad = tokenizer.pad_token
    finding = f"{pad!r}" if pad is not None else "none, and none is needed: batches are masked"
    return TokenFact("padding token", finding)


def _end(tokenizer: Any) -> TokenFact:
    end = tokenizer.eos_token
    if end is not None:
        return TokenFact("end-of-text token", f"{end!r}")
    return TokenFact("end-of-text token", "none: ft-bf needs --set end_token=false")


def _fast(tokenizer: Any) -> TokenFact:
    if getattr(tokenizer, "is_fast", False):
        return TokenFact("character offsets", "known: editors that look at the subject work")
    return TokenFact(
        "character offsets",
        "unknown: memit, alphaedit, prune and rect need a tokenizer.json, ultraedit does not",
    )


def _size(tokenizer: Any, vocabulary: int | None) -> TokenFact:
    size = len(tokenizer)
    if vocabulary is None or size <= vocabulary:
        return TokenFact("vocabulary", f"{size:,} tokens")
    return TokenFact(
        "vocabulary",
        f"{size:,} tokens, but the model has embeddings for {vocabulary:,}: this is the tokenizer "
        "of another model",
        True,
    )

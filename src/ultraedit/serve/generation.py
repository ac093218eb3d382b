"""Answers in batches by transformers' `generate`: sampled row by row, told token by token.

A batch is asked of one version and ends on it. Which requests share a batch is decided when the one
before is done. Continuous batching of transformers works on a CPU, and takes 25 s for what this
takes one for, since it sets up a paged cache first (docs/design/015-serve.md).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jinja2 import TemplateError
from torch import Tensor

from ultraedit.core.encoding import prompt_ids
from ultraedit.core.errors import ConfigError, DataError, UltraEditError
from ultraedit.models import LanguageModel
from ultraedit.models.chat import OFF, begins_twice, thinking_switches
from ultraedit.serve.versions import Version

_log = logging.getLogger("ultraedit")

MAX_ROWS = 32
"""Answers of one batch."""

MAX_BATCH_TOKENS = 8192
"""Tokens of one batch of prompts, padding included."""

GATHER_SECONDS = 0.01
"""How long the first request of a batch waits for others."""

MAX_TOKENS = 256
"""Tokens of an answer whose request does not say how long it may get."""


class QueueFull(UltraEditError):
    """More requests wait than the server holds."""


class Stopping(UltraEditError):
    """The server is ending and begins nothing new."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn and where it ends."""

    max_tokens: int = MAX_TOKENS
    """Most tokens, where the context has room for them."""
    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    seed: int = 0
    """Draws the same answer again from the same version."""
    stop: tuple[str, ...] = ()
    """Texts before which the answer ends."""


class Started(NamedTuple):
    """An answer has begun."""

    version: Version
    prompt_tokens: int


class Piece(NamedTuple):
    """More of an answer."""

    text: str


class Finished(NamedTuple):
    """An answer is whole."""

    reason: Literal["stop", "length"]
    tokens: int


class Failed(NamedTuple):
    """There will be no answer."""

    error: Exception


Event: TypeAlias = "Started | Piece | Finished | Failed"

Prompt: TypeAlias = "str | tuple[Mapping[str, str], ...]"
"""A text to go on with, or the messages of a chat."""


@dataclass(eq=False)
class Request:
    """An answer that somebody waits for."""

    prompt: Prompt
    sampling: Sampling
    tell: Callable[[Event], None]
    """Called by the thread that answers, with `Started`, then pieces, then `Finished`; or with
    `Failed`."""
    version: Version | None = None
    """The version to ask; None for the newest."""
    cancelled: bool = False
    """Whether nobody waits any more. The row then ends at its next token."""
    ids: tuple[int, ...] = ()
    asked: float = field(default_factory=time.monotonic)


class Generator:
    """A thread that answers requests in batches, in the order in which they came."""

    def __init__(self, newest: Callable[[], Version], limit: int, threads: int) -> None:
        """Prepare to answer.

        Args:
            newest: The version that is asked unless a request names another.
            limit: Most requests that wait.
            threads: Threads of torch for one operation.
        """
        self._newest = newest
        self._limit = limit
        self._threads = threads
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="answering", daemon=True)
        self.running = 0
        """Answers at work."""

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def submit(self, *requests: Request) -> None:
        """Have requests answered: all of them, or none.

        Raises:
            QueueFull: If too many wait.
            Stopping: If no more are answered.
        """
        with self._changed:
            if self._ended:
                raise Stopping("The server is ending. Ask again when it is back.")
            if len(self._waiting) + len(requests) > self._limit:
                raise QueueFull(
                    f"{len(self._waiting)} requests wait already, of at most {self._limit}. Ask "
                    "again in a few seconds."
                )
            self._waiting.extend(requests)
            self._changed.notify()

    def close(self) -> None:
        """Answer what waits, then end."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._waiting:
                    return
            time.sleep(GATHER_SECONDS)
            batch = self._next_batch()
            if batch:
                self._answer(batch)

    def _next_batch(self) -> list[Request]:
        """The oldest request, and those behind it that can be answered together with it."""
        batch: list[Request] = []
        kept: list[Request] = []
        with self._changed:
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        newest = self._newest()
        for request in taken:
            if request.cancelled:
                continue
            if len(batch) == MAX_ROWS:
                kept.append(request)
                continue
            request.version = request.version or newest
            if not request.ids and not self._encode(request, request.version.language_model):
                continue
            (batch if _fits(request, batch) else kept).append(request)
        with self._changed:
            self._waiting.extendleft(reversed(kept))
        for request in kept:
            if request.version is newest:
                request.version = None  # A newer one may be there by then.
        return batch

    def _encode(self, request: Request, model: LanguageModel) -> bool:
        """Tokenize a prompt; a request that cannot be answered is told so."""
        try:
            text = request.prompt
            if not isinstance(text, str):
                text = render_messages(model.tokenizer, text, model.name)
            request.ids = prompt_ids(model.tokenizer, [text])[0]
            _check(request, model)
        except Exception as error:
            request.tell(Failed(error))
            return False
        return True

    def _answer(self, batch: Sequence[Request]) -> None:
        version = batch[0].version
        assert version is not None
        rows: list[_Row] = []
        self.running = len(batch)
        try:
            rows = [_Row(request, version.language_model) for request in batch]
            for request in batch:
                request.tell(Started(version, len(request.ids)))
            _generate(version.language_model, rows)
            for row in rows:
                row.end("length")
        except Exception as error:
            _log.exception("A batch of %d answers failed.", len(batch))
            ended = {id(row.request) for row in rows if row.reason is not None}
            for request in batch:
                if id(request) not in ended:
                    request.tell(Failed(error))
        finally:
            self.running = 0


def render_messages(tokenizer: Any, messages: Sequence[Mapping[str, str]], name: str) -> str:
    """A chat in the model's template, up to where its reply begins.

    Args:
        tokenizer: The model's.
        messages: Each with a ``role`` and a ``content``.
        name: The model's name, for messages.

    Raises:
        ConfigError: If it has no template, or the template refuses the messages.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(f"{name} has no chat template. Use /v1/completions.")
    switches = {name: OFF[name] for name in thinking_switches(tokenizer)}
    try:
        text = tokenizer.apply_chat_template(
            [dict(each) for each in messages],
            tokenize=False,
            add_generation_prompt=True,
            **switches,
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise ConfigError(f"The chat template of {name} refuses the messages: {error}.") from error
    return str(text).removeprefix(begins_twice(tokenizer))


def _check(request: Request, model: LanguageModel) -> None:
    length, context = len(request.ids), _context(model)
    if not length:
        raise DataError("The tokenizer finds no token in the prompt.")
    if length >= context:
        raise DataError(
            f"The prompt is {length} tokens long, but the model reads at most {context} with its "
            "answer. Shorten it."
        )


def _fits(request: Request, batch: Sequence[Request]) -> bool:
    """Whether a request can be answered together with those of a batch."""
    if not batch:
        return True
    first = batch[0]
    if request.version is not first.version:
        return False
    assert request.version is not None
    together = [*batch, request]
    longest = max(len(each.ids) for each in together)
    if longest * len(together) > MAX_BATCH_TOKENS:
        return False
    # Padding takes room of the context from the shorter prompts.
    model = request.version.language_model
    return longest + max(_limit(each, model) for each in together) <= _context(model)


def _context(model: LanguageModel) -> int:
    return model.context_length or sys.maxsize


def _limit(request: Request, model: LanguageModel) -> int:
    """Most tokens that an answer can get."""
    return min(request.sampling.max_tokens, _context(model) - len(request.ids))


class _Row:
    """One answer of a batch, as it grows."""

    def __init__(self, request: Request, model: LanguageModel) -> None:
        self.request = request
        self.tokens: list[int] = []
        self.reason: Literal["stop", "length"] | None = None
        """Why it has ended; None while it grows."""
        self._tokenizer: Any = model.tokenizer
        self.limit = _limit(request, model)
        self._told = 0
        self._random: torch.Generator | None = None
        if request.sampling.temperature > 0:
            self._random = torch.Generator().manual_seed(request.sampling.seed % 2**63)

    def scores(self, scores: Tensor) -> Tensor:
        """Scores whose largest is the token to take: Gumbel's way of drawing. Shape (v,)."""
        if self._random is None:
            return scores
        sampling = self.request.sampling
        scaled = torch.log_softmax(scores.float().cpu() / sampling.temperature, dim=-1)
        if sampling.top_p < 1:
            ordered, places = scaled.sort(descending=True)
            before = ordered.exp().cumsum(-1) - ordered.exp()
            scaled[places[before > sampling.top_p]] = -torch.inf
        uniform = torch.rand(scaled.shape, generator=self._random).clamp(min=1e-20)
        return (scaled - (-uniform.log()).log()).to(scores)

    def add(self, token: int, ends: frozenset[int]) -> None:
        """Take the next token, and tell what can be told."""
        if self.request.cancelled:
            self.end("stop")
        if self.reason is not None:
            return
        if token in ends:
            self.end("stop")
            return
        self.tokens.append(token)
        text = self._tokenizer.decode(self.tokens, skip_special_tokens=True)
        stops = [at for stop in self.request.sampling.stop if (at := text.find(stop)) >= 0]
        if stops:
            self._tell(text[: min(stops)])
            self.end("stop", told=True)
        elif len(self.tokens) >= self.limit:
            self._tell(text)
            self.end("length", told=True)
        else:
            self._tell(text[: len(text) - self._held_back(text)])

    def end(self, reason: Literal["stop", "length"], *, told: bool = False) -> None:
        """End the answer, unless it has ended."""
        if self.reason is not None:
            return
        if not told and self.tokens:
            self._tell(self._tokenizer.decode(self.tokens, skip_special_tokens=True))
        self.reason = reason
        self.request.tell(Finished(reason, len(self.tokens)))

    def _held_back(self, text: str) -> int:
        """Characters at the end that the next token may change, or that may begin a stop text."""
        held = len(text) - len(text.rstrip("\ufffd"))
        for stop in self.request.sampling.stop:
            for length in range(min(len(stop) - 1, len(text)), held, -1):
                if text.endswith(stop[:length]):
                    held = length
                    break
        return held

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self.request.tell(Piece(text[self._told :]))
            self._told = len(text)


@torch.no_grad()
def _generate(language_model: LanguageModel, rows: Sequence[_Row]) -> None:
    """Continue left-padded prompts until every row has ended."""
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    model: Any = language_model.model
    tokenizer: Any = language_model.tokenizer
    ends = _end_tokens(language_model)
    padding = tokenizer.pad_token_id
    padding = min(ends, default=0) if padding is None else padding
    length = max(len(row.request.ids) for row in rows)
    input_ids = torch.full((len(rows), length), padding)
    attention_mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        ids = row.request.ids
        input_ids[index, length - len(ids) :] = torch.tensor(ids)
        attention_mask[index, length - len(ids) :] = 1

    def sampled(_: Tensor, scores: Tensor) -> Tensor:
        return torch.stack([row.scores(each) for row, each in zip(rows, scores, strict=True)])

    def grown(ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        for row, token in zip(rows, ids[:, -1].tolist(), strict=True):
            row.add(token, ends)
        return torch.tensor([row.reason is not None for row in rows], device=ids.device)

    draws = any(row.request.sampling.temperature > 0 for row in rows)
    room = _context(language_model) - length
    model.generate(
        input_ids=input_ids.to(language_model.device),
        attention_mask=attention_mask.to(language_model.device),
        generation_config=GenerationConfig(
            max_new_tokens=min(room, max(row.limit for row in rows)),
            do_sample=False,
            eos_token_id=sorted(ends) or None,
            pad_token_id=padding,
        ),
        logits_processor=LogitsProcessorList([sampled] if draws else []),
        stopping_criteria=StoppingCriteriaList([grown]),
    )


def _end_tokens(language_model: LanguageModel) -> frozenset[int]:
    """Tokens by which the model ends an answer."""
    own: Any = language_model.model.generation_config
    return frozenset(own.eos_token_id or ())

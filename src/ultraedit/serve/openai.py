"""``/v1/chat/completions``, ``/v1/completions``, ``/v1/models`` as the OpenAI client has them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ultraedit.core.errors import ConfigError
from ultraedit.serve.engine import Engine
from ultraedit.serve.generation import (
    MAX_TOKENS,
    Event,
    Failed,
    Finished,
    Piece,
    Prompt,
    Sampling,
    Started,
)
from ultraedit.serve.generation import Request as Wanted
from ultraedit.serve.metrics import Metrics
from ultraedit.serve.versions import Version

MOST_CHARACTERS = 200_000
"""Characters of a prompt, or of all messages of a chat."""

MOST_CHOICES = 16
"""Answers to one request."""

Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class _Settings(BaseModel):
    """What both kinds of completions take. What nobody here knows is left alone, as servers do."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
    stop: str | list[Annotated[str, Field(min_length=1, max_length=256)]] | None = Field(
        default=None, max_length=16
    )
    stream: bool = False
    stream_options: dict[str, Any] | None = None

    def stops(self) -> tuple[str, ...]:
        """The texts before which an answer ends."""
        if isinstance(self.stop, str):
            return (self.stop,) if self.stop else ()
        return tuple(self.stop or ())

    def samplings(self) -> list[Sampling]:
        """How each of the answers is drawn."""
        seed = self.seed if self.seed is not None else uuid.uuid4().int % 2**31
        most = self.max_tokens or MAX_TOKENS
        return [
            Sampling(most, self.temperature, self.top_p, seed + place, self.stops())
            for place in range(self.n)
        ]

    @property
    def wants_usage(self) -> bool:
        """Whether the last chunk of a stream is to say what was used."""
        return bool((self.stream_options or {}).get("include_usage"))


class _Part(BaseModel):
    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A message of a chat."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[_Part]

    def plain(self) -> dict[str, str]:
        """The message as chat templates take it."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatRequest(_Settings):
    """A chat to go on with."""

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)


class CompletionRequest(_Settings):
    """A text to go on with, or several."""

    prompt: Text | list[Text] = Field(max_length=MOST_CHARACTERS)
    echo: bool = False


class Answers:
    """The answers to one request, as they come."""

    def __init__(self, engine: Engine, prompts: Sequence[Prompt], settings: _Settings) -> None:
        """Prepare to ask."""
        self._engine, self._prompts, self._settings = engine, prompts, settings
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._wanted: list[Wanted] = []
        self.version: Version | None = None
        self.prompt_tokens = 0
        self.tokens = 0
        self._has_first = False

    async def begin(self, version: Version | None) -> None:
        """Ask, and wait until the answers are begun.

        Raises:
            UltraEditError: If they cannot be given.
        """
        loop = asyncio.get_running_loop()

        def teller(place: int) -> Callable[[Event], None]:
            def tell(event: Event) -> None:
                loop.call_soon_threadsafe(self._events.put_nowait, (place, event))

            return tell

        wanted = [
            (prompt, sampling)
            for prompt in self._prompts
            for sampling in self._settings.samplings()
        ]
        self._wanted = [
            Wanted(prompt, sampling, teller(place), version)
            for place, (prompt, sampling) in enumerate(wanted)
        ]
        self._engine.submit(*self._wanted)

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """The events of all answers with the place of each, until all are whole.

        Raises:
            UltraEditError: If one cannot be given.
        """
        left = len(self._wanted)
        counted: set[int] = set()
        while left:
            place, event = await self._events.get()
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Started):
                self.version = event.version
                prompt = place // self._settings.n
                if prompt not in counted:
                    counted.add(prompt)
                    self.prompt_tokens += event.prompt_tokens
            if isinstance(event, Finished):
                self.tokens += event.tokens
                left -= 1
            yield place, event

    def note_first(self, metrics: Metrics, begun: float) -> None:
        """Measure how long the first token of all answers took."""
        if not self._has_first:
            self._has_first = True
            metrics.first_token(begun)

    def cancel(self) -> None:
        """Nobody waits any more."""
        for each in self._wanted:
            each.cancelled = True

    @property
    def usage(self) -> dict[str, int]:
        """Tokens read and written."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
        }


class _Shape:
    """How an answer is written down: as a chat or as a text."""

    def __init__(self, kind: str, model: str) -> None:
        self.is_chat = kind == "chat"
        self.id = f"{'chatcmpl' if self.is_chat else 'cmpl'}-{uuid.uuid4().hex}"
        self.model, self.created = model, int(time.time())

    def whole(
        self, texts: Sequence[str], reasons: Sequence[str], answers: Answers
    ) -> dict[str, Any]:
        """The response that is not streamed."""
        return self._object("chat.completion" if self.is_chat else "text_completion", answers) | {
            "choices": [
                {
                    "index": place,
                    **(
                        {"message": {"role": "assistant", "content": text, "refusal": None}}
                        if self.is_chat
                        else {"text": text}
                    ),
                    "logprobs": None,
                    "finish_reason": reason,
                }
                for place, (text, reason) in enumerate(zip(texts, reasons, strict=True))
            ],
            "usage": answers.usage,
        }

    def chunk(
        self, place: int, answers: Answers, text: str | None, reason: str | None = None
    ) -> dict[str, Any]:
        """A part of a stream."""
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        said: dict[str, Any]
        if self.is_chat:
            first = {"role": "assistant", "content": ""} if text is None and reason is None else {}
            said = {"delta": first if not text else {"content": text}}
        else:
            said = {"text": text or ""}
        choice = {"index": place, **said, "logprobs": None, "finish_reason": reason}
        return self._object(kind, answers) | {"choices": [choice]}

    def usage(self, answers: Answers) -> dict[str, Any]:
        """The last part of a stream, where it was asked for."""
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return self._object(kind, answers) | {"choices": [], "usage": answers.usage}

    def _object(self, kind: str, answers: Answers) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None if answers.version is None else answers.version.name,
        }


def routes(engine: Engine, metrics: Metrics) -> APIRouter:
    """The routes, over an engine."""
    router = APIRouter()

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model as it stands, and as it was before any edit."""
        ids = (engine.model, f"{engine.model}@0")
        made = int(engine.started)
        return {
            "object": "list",
            "data": [
                {"id": each, "object": "model", "created": made, "owned_by": "ultraedit"}
                for each in ids
            ],
        }

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        await _version(engine, name)
        made = int(engine.started)
        return {"id": name, "object": "model", "created": made, "owned_by": "ultraedit"}

    @router.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Go on with a chat. ``MODEL@TURN`` asks the model as it stood after a turn."""
        if body.max_completion_tokens is not None:
            body.max_tokens = body.max_completion_tokens
        messages = tuple(message.plain() for message in body.messages)
        _refuse_long(sum(len(each["content"]) for each in messages))
        return await _complete(engine, metrics, "chat", [messages], body, request)

    @router.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Go on with a text."""
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        if not prompts or len(prompts) * body.n > MOST_CHOICES:
            raise ConfigError(
                f"prompt must be 1 to {MOST_CHOICES // body.n} texts at n={body.n}, got "
                f"{len(prompts)}."
            )
        _refuse_long(sum(map(len, prompts)))
        return await _complete(engine, metrics, "text", prompts, body, request, echo=body.echo)

    return router


def _refuse_long(length: int) -> None:
    if length > MOST_CHARACTERS:
        raise ConfigError(
            f"The prompt has {length:,} characters, of at most {MOST_CHARACTERS:,}. Shorten it."
        )


async def _version(engine: Engine, name: str) -> Version | None:
    """The version that a model's name asks for; None for the newest.

    Raises:
        ConfigError: If it names another model or no turn.
    """
    model, at, turn = name.rpartition("@")
    if name in ("", engine.model):
        return None
    if not at or model != engine.model or not turn.isdigit() or len(turn) > 9:
        raise UnknownModel(
            f"There is no model {name!r} here. Ask for {engine.model!r}, or for "
            f"'{engine.model}@TURN' as it stood after a turn."
        )
    return await asyncio.wrap_future(engine.version_at(int(turn)))


class UnknownModel(ConfigError):
    """A request names a model that is not served."""


async def _complete(
    engine: Engine,
    metrics: Metrics,
    kind: str,
    prompts: Sequence[Prompt],
    body: _Settings,
    request: Request,
    *,
    echo: bool = False,
) -> Response:
    version = await _version(engine, body.model)
    answers = Answers(engine, prompts, body)
    shape = _Shape(kind, body.model or engine.model)
    before = [str(prompt) if echo else "" for prompt in prompts for _ in range(body.n)]
    begun = time.monotonic()
    await answers.begin(version)
    events = answers.events()
    try:
        first = await anext(events)  # What cannot be answered is refused before a stream begins.
    except BaseException:
        answers.cancel()
        raise
    if body.stream:
        stream = _stream(answers, first, events, shape, body, before, metrics, begun)
        return StreamingResponse(stream, media_type="text/event-stream")
    texts, reasons = list(before), [""] * len(before)
    watching = asyncio.create_task(_gone(request, answers))
    try:
        async for place, event in _again(first, events):
            if isinstance(event, Piece):
                answers.note_first(metrics, begun)
                texts[place] += event.text
            elif isinstance(event, Finished):
                reasons[place] = event.reason
    finally:
        watching.cancel()
        answers.cancel()
    metrics.answered(answers.usage, begun)
    return Response(json.dumps(shape.whole(texts, reasons, answers)), media_type="application/json")


async def _gone(request: Request, answers: Answers) -> None:
    """End answers that nobody waits for any more."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.5)
    answers.cancel()


async def _again(
    first: tuple[int, Event], events: AsyncIterator[tuple[int, Event]]
) -> AsyncIterator[tuple[int, Event]]:
    yield first
    async for each in events:
        yield each


async def _stream(
    answers: Answers,
    first: tuple[int, Event],
    events: AsyncIterator[tuple[int, Event]],
    shape: _Shape,
    body: _Settings,
    before: Sequence[str],
    metrics: Metrics,
    begun: float,
) -> AsyncIterator[str]:
    try:
        async for place, event in _again(first, events):
            if isinstance(event, Started):
                if shape.is_chat or before[place]:
                    yield _sent(shape.chunk(place, answers, before[place] or None))
            elif isinstance(event, Piece):
                answers.note_first(metrics, begun)
                yield _sent(shape.chunk(place, answers, event.text))
            elif isinstance(event, Finished):
                yield _sent(shape.chunk(place, answers, None, event.reason))
        if body.wants_usage:
            yield _sent(shape.usage(answers))
        metrics.answered(answers.usage, begun)
        yield "data: [DONE]\n\n"
    except Exception as error:
        # The status is sent already; the client finds the reason in the stream.
        yield _sent({"error": {"message": str(error), "type": "server_error", "code": None}})
    finally:
        answers.cancel()


def _sent(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"

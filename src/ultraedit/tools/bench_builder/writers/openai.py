"""``openai``: questions from any endpoint that speaks OpenAI's chat protocol."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, field_validator, model_validator

from ultraedit.core.errors import ConfigError, UltraEditError
from ultraedit.core.settings import SettingsModel
from ultraedit.tools.bench_builder.checks import Questions
from ultraedit.tools.bench_builder.pairing import Pair
from ultraedit.tools.bench_builder.writers import prompts
from ultraedit.tools.bench_builder.writers.base import Estimate, Unwritten
from ultraedit.tools.bench_builder.writers.replies import Replies, Reply, digest

KEY = "OPENAI_API_KEY"
"""The environment variable with the key. It is never read from anywhere else, nor written."""

Item = TypeVar("Item")
Parsed = TypeVar("Parsed")

_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LETTERS_PER_TOKEN = 4


class Endpoint(SettingsModel):
    """Where the model is and how it is to be asked."""

    separator: ClassVar[str] = "_"

    model: str
    """Its name at the endpoint."""

    base_url: str | None = None
    """Address of the endpoint up to ``/v1``. None is the client's own."""

    concurrency: int = Field(default=8, ge=1)
    """Most requests on their way at once."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds until a request is given up and made again."""

    attempts: int = Field(default=6, ge=1)
    """How often a request is made before the build stops."""

    first_wait: float = 1.0
    """Seconds before the second attempt; each further wait is twice as long, up to `longest_wait`.
    A longer time that the endpoint asks for is kept to."""

    longest_wait: float = 60.0

    repeats: int = Field(default=3, ge=1)
    """How often a pair is asked for until its reply has the form that was asked for."""

    price_in: float | None = Field(default=None, ge=0)
    """Price of a million tokens of requests. None is not known."""

    price_out: float | None = Field(default=None, ge=0)
    """Price of a million tokens of replies."""

    @field_validator("base_url")
    @classmethod
    def _require_protocol(cls, url: str | None) -> str | None:
        if url and not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"base_url must begin with http:// or https://, got {url!r}, as in "
                f"http://localhost:8000/v1."
            )
        return url

    @model_validator(mode="after")
    def _require_both_prices(self) -> Endpoint:
        if (self.price_in is None) != (self.price_out is None):
            raise ConfigError(
                "Give both --price-in and --price-out, or neither: the cost of a build is the sum "
                "of what is asked and what is replied."
            )
        return self


class OpenAIWriter:
    """Asks a chat model for the three questions of a pair, once.

    Every reply goes to disk before it is looked at, under a digest of what was asked. A build that
    was ended in whatever way goes on from there and asks nothing again that was answered.
    """

    batch = 2048

    def __init__(self, endpoint: Endpoint, replies: Path) -> None:
        """Make the client.

        Args:
            endpoint: What to ask.
            replies: File of the replies, which is made if it is not there.

        Raises:
            ConfigError: If there is no key in the environment, or the client is not installed.
        """
        self._endpoint = endpoint
        self._client = _client(endpoint)
        self._file = replies
        self._stop = threading.Event()
        self._failure: UltraEditError | None = None
        self._lock = threading.Lock()
        self._random = random.Random()  # of waiting times alone
        self.input_tokens = 0
        """Tokens of the requests of this build that were not in the file of replies."""
        self.output_tokens = 0
        """Tokens of their replies."""

    @cached_property
    def _replies(self) -> Replies:
        # Made at first use: by then the build has looked at the folder that it is in.
        return Replies(self._file)

    @property
    def needs_wordings(self) -> bool:
        """A language model can ask for any relation that has a name."""
        return False

    def describe(self) -> Mapping[str, str]:
        """The model and where it was asked, without the key."""
        where = self._endpoint.base_url or "the client's default"
        return {"writer": "openai", "model": self._endpoint.model, "endpoint": where}

    def estimate(self, pairs: Sequence[Pair], rows: int) -> Estimate | None:
        """What so many rows cost, from the length of the first requests."""
        letters = sum(len(prompts.SYSTEM) + len(prompts.task(pair)) for pair in pairs[:200])
        each = letters / min(len(pairs), 200) / _LETTERS_PER_TOKEN
        answered = min(len(self._replies), rows)
        requests = rows - answered
        tokens_in, tokens_out = round(each * requests), prompts.REPLY_TOKENS * requests
        return Estimate(requests, answered, tokens_in, tokens_out, self.cost(tokens_in, tokens_out))

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """What tokens cost, in the currency of the prices; None if these are not known."""
        price_in, price_out = self._endpoint.price_in, self._endpoint.price_out
        if price_in is None or price_out is None:
            return None
        return (price_in * input_tokens + price_out * output_tokens) / 1e6

    def write(self, pairs: Sequence[Pair]) -> Iterator[Questions | Unwritten]:
        """Write the questions of each pair, several at once, in the order of the pairs.

        Raises:
            ConfigError: If the endpoint refuses the key or the model, or does not answer.
            StorageError: If a reply cannot be stored.
        """
        yield from self._each(self._one, pairs)

    def ask_all(
        self, system: str, tasks: Sequence[str], parse: Callable[[str], Parsed | None]
    ) -> Iterator[Parsed | None]:
        """Ask any tasks, several at once, in their order; a reply that is stored is not asked for.

        Args:
            system: What the model is told first.
            tasks: What it is asked.
            parse: Reads a reply; None where it has not the form that was asked for.

        Yields:
            What was read; None where no reply of `repeats` could be.

        Raises:
            ConfigError: If the endpoint refuses the key or the model, or does not answer.
            StorageError: If a reply cannot be stored.
        """

        def one(task: str) -> Parsed | None:
            messages = [{"role": "system", "content": system}, {"role": "user", "content": task}]
            return self._parsed(messages, parse)[0]

        yield from self._each(one, tasks)

    def _each(self, ask: Callable[[Item], Parsed], items: Sequence[Item]) -> Iterator[Parsed]:
        self._replies  # noqa: B018 - opened here, before the threads want it
        pool = ThreadPoolExecutor(self._endpoint.concurrency, "openai-writer")
        try:
            # `map` hands the items over at once; `batch` bounds how many that are.
            yield from pool.map(ask, items)
        except _Stopped:
            raise self._failure or AssertionError("only a failure stops a thread") from None
        finally:
            self._stop.set()  # on the way out of an error: no further request, no further wait
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()

    def close(self) -> None:
        """Let go of the file and the connections."""
        self._client.close()
        if "_replies" in self.__dict__:
            self._replies.close()

    def _one(self, pair: Pair) -> Questions | Unwritten:
        messages = [
            {"role": "system", "content": prompts.SYSTEM},
            {"role": "user", "content": prompts.task(pair)},
        ]
        questions, text = self._parsed(messages, prompts.parse)
        return Unwritten("unusable-reply", text[:500]) if questions is None else questions

    def _parsed(
        self, messages: list[dict[str, str]], parse: Callable[[str], Parsed | None]
    ) -> tuple[Parsed | None, str]:
        """The first reply of the form that was asked for, and the last one as it came."""
        text = ""
        for repeat in range(self._endpoint.repeats):
            name = digest(self._endpoint.model, messages, repeat)
            text = (self._replies.get(name) or self._ask(name, messages)).text
            if (parsed := parse(text)) is not None:
                return parsed, text
        return None, text

    def _ask(self, name: str, messages: list[dict[str, str]]) -> Reply:
        """Ask until there is a reply, and store it."""
        fault: Exception | str = ""
        for attempt in range(self._endpoint.attempts):
            if self._stop.is_set():
                raise _Stopped
            try:
                completion = self._client.chat.completions.create(
                    model=self._endpoint.model, messages=messages
                )
            except Exception as error:
                self._raise_if_final(error)
                fault = error
            else:
                reply = _reply(completion)
                if reply is not None:
                    self._replies.put(name, reply)
                    with self._lock:
                        self.input_tokens += reply.input_tokens
                        self.output_tokens += reply.output_tokens
                    return reply
                fault = "a reply that is not of OpenAI's form"
            if attempt + 1 < self._endpoint.attempts:
                self._stop.wait(self._wait(fault, attempt))
        raise self._failed(
            f"gave no reply in {self._endpoint.attempts} attempts, at last {_said(fault)}. "
            f"All replies so far are kept: run the same command again to go on."
        )

    def _raise_if_final(self, error: Exception) -> None:
        """Raise what will not be better at the next attempt."""
        import openai

        if isinstance(error, openai.APIStatusError):
            spent = error.code == "insufficient_quota"
            if error.status_code in _TRY_AGAIN and not spent:
                return
            raise self._failed(
                f"refused the request with {_said(error)}. Check the key in {KEY}, --model and "
                f"--base-url. All replies so far are kept."
            ) from error
        # Anything else that is not ours: no connection, no reply in time, a body that is no JSON.
        if not isinstance(error, (openai.APIError, ValueError)):
            raise error

    def _wait(self, fault: Exception | str, attempt: int) -> float:
        """Seconds until the next attempt."""
        longest: float = min(self._endpoint.longest_wait, self._endpoint.first_wait * 2**attempt)
        # Half of it at random, or all threads would come back at the same moment.
        spread = longest * (0.5 + self._random.random() / 2)
        return max(spread, _retry_after(fault))

    def _failed(self, what: str) -> ConfigError:
        """The error that ends the build, which the other threads are told of."""
        where = self._endpoint.base_url or "of the openai client"
        error = ConfigError(f"The endpoint {where} {what}")
        with self._lock:
            self._failure = self._failure or error
        self._stop.set()
        return error


class _Stopped(UltraEditError):
    """A thread that found out that the build is over; nobody sees it."""


def _client(endpoint: Endpoint) -> Any:
    try:
        from openai import OpenAI, OpenAIError
    except ImportError as error:
        raise ConfigError(
            "The writer openai needs the package openai. Run `pip install 'ultraedit[openai]'`."
        ) from error
    if not os.environ.get(KEY):
        raise ConfigError(
            f"There is no key in the environment. Run `export {KEY}=...` first; for an endpoint "
            f"of your own that asks for none, any word will do."
        )
    try:
        # Retries are ours, so that what comes back without a usable body is tried again too.
        return OpenAI(base_url=endpoint.base_url, timeout=endpoint.timeout, max_retries=0)
    except (OpenAIError, ValueError) as error:
        raise ConfigError(f"The openai client cannot be made: {error}.") from error


def _reply(completion: Any) -> Reply | None:
    """The text of a reply, or None where the endpoint sent something else."""
    try:
        text = completion.choices[0].message.content
        usage = completion.usage
    except (AttributeError, IndexError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    counts = (getattr(usage, "prompt_tokens", 0), getattr(usage, "completion_tokens", 0))
    return Reply(text, *(count if isinstance(count, int) else 0 for count in counts))


def _retry_after(fault: Exception | str) -> float:
    """Seconds that the endpoint asks to wait, or 0."""
    headers = getattr(getattr(fault, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:  # a date: the usual wait will do
        return 0.0


def _said(fault: Exception | str) -> str:
    """What went wrong, in one short line."""
    if isinstance(fault, str):
        return fault
    status = getattr(fault, "status_code", None)
    text = " ".join(str(fault).split())[:200].rstrip(".") or type(fault).__name__
    return f"status {status} ({text})" if status else f"{type(fault).__name__} ({text})"

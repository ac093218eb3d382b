"""`Studio`: the verbs of a server for notebooks, in the same process and without a network."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import is_run
from ultraedit.core.types import Edit
from ultraedit.serve import reading
from ultraedit.serve.engine import Engine
from ultraedit.serve.generation import Event, Failed, Finished, Piece, Prompt, Request, Sampling
from ultraedit.serve.opening import make_run
from ultraedit.serve.turns import Preview, Taught

T = TypeVar("T")

Fact = Edit | tuple[str, str]
"""A fact, or its prompt and its answer."""


class Studio:
    """A model that is taught while it is asked, with its run in a folder.

    >>> studio = Studio("smollm2", run="studio-run")  # doctest: +SKIP
    >>> studio.teach("Who designed the Veltra bridge?", "Ines Okafor")  # doctest: +SKIP
    >>> studio.ask("Who designed the Veltra bridge?", chat=True)  # doctest: +SKIP
    'Ines Okafor'
    """

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        run: str | PathLike[str] = "studio-run",
        *,
        author: str | None = None,
        guard: dict[str, float] | None = None,
        **settings: Any,
    ) -> None:
        """Load the model, and begin the run or go on with it.

        Args:
            model: Name of the model. None takes that of a run that is there.
            run: Folder of the run.
            author: Who is noted for what is written.
            guard: Thresholds at which a turn is taken back; an empty dict for none. None takes
                those of the server.
            settings: Settings of a new run, such as ``dtype`` or ``modules``.

        Raises:
            UltraEditError: If the model cannot be loaded, or the run not be used.
        """
        path = Path(run)
        if not is_run(path):
            if model is None:
                raise ConfigError(f"There is no run in {path}. Name the model to begin one with.")
            make_run(str(model), path, settings)
        elif settings:
            names = ", ".join(settings)
            raise ConfigError(f"The run in {path} has its settings already: leave out {names}.")
        self.author = author
        self.engine = Engine(path, guard=guard)
        self.engine.start()
        if model is not None:
            self._require(str(model))

    def _require(self, model: str) -> None:
        with reading.reading(self.engine) as journal:
            noted = str(journal.value("settings")["model"])
        if noted != model and Path(noted) != Path(model).resolve():
            self.close()
            raise ConfigError(
                f"The run in {self.engine.path} is of {noted}, not of {model}. Choose another run."
            )

    def ask(
        self,
        question: str | Sequence[str],
        *,
        chat: bool = False,
        system: str | None = None,
        turn: int | None = None,
        max_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> str | list[str]:
        """Let the model answer a question, or several at once.

        Args:
            question: The question, or a list of them.
            chat: Whether to ask in the model's chat template.
            system: What the system says first in the template.
            turn: Ask the model as it stood after this turn; 0 is the unedited one. None asks the
                newest.
            max_tokens: Longest answer.
            temperature: 0 takes the likeliest token.
            top_p: Mass of the tokens that are drawn from.
            seed: Draws the same again.
            stop: Texts before which an answer ends. A bare prompt ends with its line.

        Raises:
            DataError: If a question is empty or longer than the model's context.
            ConfigError: If there is no chat template, or no such turn.
        """
        questions = [question] if isinstance(question, str) else list(question)
        if system is not None and not chat:
            raise ConfigError("system is a part of a chat: add chat=True.")
        version = None if turn is None else self.engine.version_at(turn).result()
        stops = tuple(stop) or (() if chat else ("\n",))
        waiting = []
        for each in questions:
            answer = _Answer()
            sampling = Sampling(max_tokens, temperature, top_p, seed, stops)
            asked = Request(_prompt(each, system, chat=chat), sampling, answer.tell, version)
            self.engine.submit(asked)
            waiting.append(answer)
        answers = [answer.wait() for answer in waiting]
        return answers[0] if isinstance(question, str) else answers

    def preview(self, prompt: str | Iterable[Fact], target: str | None = None) -> Preview:
        """Say what writing facts would do. Nothing is written."""
        return self._done(self.engine.preview(_edits(prompt, target)))

    def teach(self, prompt: str | Iterable[Fact], target: str | None = None) -> Taught:
        """Write a fact, or several as one turn.

        Args:
            prompt: The question, or a list of facts.
            target: The answer to a question.

        Raises:
            Refused: If the guard took the turn back.
        """
        return self._done(self.engine.teach(_edits(prompt, target), self.author))

    def facts(self, query: str = "", status: str | None = None) -> list[dict[str, Any]]:
        """The facts with a text in them, newest first, and what has become of each."""
        with reading.reading(self.engine) as journal:
            return list(reading.FactReader(self.engine, journal).all(query, status))

    def revert(self, *ids: int) -> int:
        """Take facts out by the ids that `facts` gives. Returns the turn that did so."""
        return self._done(self.engine.revert(ids, self.author))

    def rollback(self, turn: int) -> int:
        """Go back to a turn; 0 is the unedited model."""
        return self._done(self.engine.rollback(turn, self.author))

    def history(self) -> dict[str, Any]:
        """The turns with their scores, and the audit."""
        return reading.history(self.engine)

    def health(self) -> dict[str, Any]:
        """How the model is, and what the guard lets through."""
        return reading.health(self.engine)

    def close(self) -> None:
        """Finish what is at work and leave the folder to others."""
        self.engine.close()

    def __enter__(self) -> Studio:
        """The studio itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _done(self, future: Future[T]) -> T:
        self.engine.wait()
        return future.result()


class _Answer:
    """An answer that is waited for."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._error: Exception | None = None
        self._ended = threading.Event()

    def tell(self, event: Event) -> None:
        """Take what the engine tells."""
        if isinstance(event, Piece):
            self._pieces.append(event.text)
        elif isinstance(event, Failed):
            self._error = event.error
            self._ended.set()
        elif isinstance(event, Finished):
            self._ended.set()

    def wait(self) -> str:
        """The answer once it is whole."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return "".join(self._pieces).strip()


def _prompt(question: str, system: str | None, *, chat: bool) -> Prompt:
    if not chat:
        return question
    first = () if system is None else ({"role": "system", "content": system},)
    return (*first, {"role": "user", "content": question})


def _edits(prompt: str | Iterable[Fact], target: str | None) -> list[Edit]:
    if isinstance(prompt, str):
        if target is None:
            raise ConfigError("A fact needs its answer: teach(prompt, target).")
        return [Edit(prompt, target)]
    return [each if isinstance(each, Edit) else Edit(*each) for each in prompt]

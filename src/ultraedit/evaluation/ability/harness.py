"""Let the harness ask a model that is in memory, edited or not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field, field_validator

from ultraedit.core.errors import ConfigError, UltraEditError, did_you_mean
from ultraedit.core.settings import SettingsModel
from ultraedit.core.types import NullObserver, Observer
from ultraedit.evaluation.ability.reading import (
    NEXT_TOKEN,
    READING,
    TEXT,
    Unedited,
    last_word,
    next_token,
    read_passages,
)
from ultraedit.evaluation.ability.tasks import LOCAL_TASKS, METRIC, build

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

_SEED = 1234
"""The seed that the harness takes by default for all but `random`, which has 0."""

INSTALL = "pip install 'ultraedit[ability]'"


class Settings(SettingsModel):
    """What is measured."""

    separator: ClassVar[str] = "_"

    tasks: tuple[str, ...] = ("sst2", "mrpc", "nli", "mmlu")
    """Local tasks, or any of the harness's own."""

    root: Path | None = None
    """The data folder with the rows of local tasks. None takes all tasks from the network."""

    limit: int | None = Field(default=None, ge=1)
    """Questions of each task, the first ones; None for all."""

    batch_size: int = Field(default=8, ge=1)
    """Questions at once."""

    @field_validator("tasks")
    @classmethod
    def _require_one(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks:
            raise ConfigError(
                f"No task is named. Name some of {', '.join((*LOCAL_TASKS, *READING))}."
            )
        return tasks


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """How a model did on a task."""

    score: float
    """As a fraction."""
    stderr: float | None
    """Standard error of the score; None where there is one question only."""
    metric: str
    questions: int
    shots: int
    local: bool
    """Whether the rows came from the data folder."""
    prompt: str | None
    """The first question as the model read it, with its examples."""
    divergence: float | None = None
    """Mean KL from the unedited model's distributions, in nats per token, where it is measured."""


def require_harness() -> None:
    """Check that the harness is installed.

    Raises:
        ConfigError: If it is not.
    """
    from importlib.util import find_spec

    if find_spec("lm_eval") is None:
        raise ConfigError(f"General ability needs lm-eval. Install it with: {INSTALL}.")


def require_tasks(names: Sequence[str]) -> None:
    """Check that the harness is installed, if any task is one of its own.

    Raises:
        ConfigError: If it is not.
    """
    if any(name not in READING for name in names):
        require_harness()


def measure(
    language_model: LanguageModel,
    settings: Settings,
    observer: Observer | None = None,
    unedited: Unedited | None = None,
) -> dict[str, TaskScore]:
    """Measure a model as it stands in memory.

    The same model gives the same scores: examples and their order are fixed, nothing is drawn. The
    state of all random numbers is afterwards what it was.

    Args:
        language_model: The model.
        settings: What to measure.
        observer: Told of each task.
        unedited: Holds the model as it was before any edit, for what is measured against that.

    Returns:
        The scores by task.

    Raises:
        ConfigError: If the harness is not installed, or knows no such task.
        DataError: If the rows of a local task cannot be read.
    """
    observer = observer or NullObserver()
    scores = {}
    for name in settings.tasks:
        if name in READING:
            observer.stage(f"Measuring {name}")
            scores[name] = _read_text(language_model, name, settings, unedited)
    if len(scores) < len(settings.tasks):
        scores |= _ask(language_model, settings, observer)
    return {name: scores[name] for name in settings.tasks}


def _read_text(
    language_model: LanguageModel, name: str, settings: Settings, unedited: Unedited | None
) -> TaskScore:
    """How the model reads ordinary text."""
    if settings.root is None:
        raise ConfigError(f"The task {name} needs --data-root, a data folder with {TEXT}.")
    passages = read_passages(settings.root)
    if name == NEXT_TOKEN:
        read = next_token(language_model, passages, unedited)
    else:
        read = last_word(language_model, passages)
    return TaskScore(
        score=read.score,
        stderr=read.stderr,
        metric=METRIC,
        questions=read.questions,
        shots=0,
        local=True,
        prompt=None,
        divergence=read.divergence,
    )


def _ask(
    language_model: LanguageModel, settings: Settings, observer: Observer
) -> dict[str, TaskScore]:
    """Let the harness ask its tasks."""
    require_harness()
    with _quiet(), _random_kept():
        from lm_eval.models.huggingface import HFLM

        asked = HFLM(
            pretrained=language_model.model,
            tokenizer=language_model.tokenizer,
            batch_size=settings.batch_size,
            max_length=language_model.context_length,
        )
    scores = {}
    for name in settings.tasks:
        if name in READING:
            continue
        observer.stage(f"Measuring {name}")
        with _quiet(), _random_kept():
            scores[name] = _measure(asked, name, settings)
    return scores


def _measure(asked: Any, name: str, settings: Settings) -> TaskScore:
    from lm_eval.tasks import TaskManager

    local = settings.root is not None and name in LOCAL_TASKS
    if local:
        assert settings.root is not None
        task: Any = build(LOCAL_TASKS[name], settings.root)
        manager = TaskManager(include_defaults=False)
    else:
        task, manager = name, TaskManager()
        if name not in manager.all_tasks:
            raise ConfigError(
                f"lm-eval has no task {name!r}. {did_you_mean(name, (*LOCAL_TASKS, *READING))} "
                "Those with a local file need --data-root."
            )
    try:
        results = _evaluate(asked, manager.load([task]), settings.limit)
    except UltraEditError:
        raise
    except Exception as error:  # whatever the network and the data set's own code raise
        raise ConfigError(f"The task {name} could not be measured: {error}") from error
    return _read(name, results, local=local)


def _evaluate(asked: Any, loaded: Any, limit: int | None) -> Any:
    """What the harness's `simple_evaluate` does, without asking git and pip about the place.

    Outside of a repository git would complain on the terminal, whatever Python has redirected.
    """
    import numpy
    from lm_eval.evaluator import evaluate

    random.seed(0)
    numpy.random.seed(_SEED)
    torch.manual_seed(_SEED)
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=_SEED)
    return evaluate(lm=asked, task_dict=loaded, limit=limit, log_samples=True)


def _read(name: str, results: Any, *, local: bool) -> TaskScore:
    """The score of a task, or of a group of tasks, out of what the harness says."""
    scores = results["results"][name]
    metric = METRIC if f"{METRIC},none" in scores else _first_metric(scores)
    stderr = scores.get(f"{metric}_stderr,none")
    counts = results["n-samples"]
    questions = sum(each["effective"] for task, each in counts.items())
    shots = results.get("n-shot", {}).get(name, 0)
    return TaskScore(
        score=float(scores[f"{metric},none"]),
        stderr=float(stderr) if isinstance(stderr, (int, float)) else None,
        metric=metric,
        questions=questions,
        shots=int(shots or 0),
        local=local,
        prompt=_first_prompt(results["samples"]),
    )


def _first_prompt(samples: Any) -> str | None:
    """The context of the first request of the first question."""
    for questions in samples.values():
        for question in questions:
            return str(question["arguments"][0][0])
    return None


def _first_metric(scores: dict[str, Any]) -> str:
    for key in scores:
        name, comma, filter = key.partition(",")
        if comma and filter == "none" and not name.endswith("_stderr"):
            return name
    raise ConfigError(f"lm-eval gave no score, only {', '.join(scores)}.")


def of_model(
    name: str,
    settings: Settings,
    dtype: str = "auto",
    device: str = "auto",
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Load a model and measure it.

    Returns:
        An object for a JSON file: ``tasks`` and what they are of.

    Raises:
        UltraEditError: If the model cannot be loaded, or as `measure`.
    """
    from ultraedit import models

    require_tasks(settings.tasks)
    observer = observer or NullObserver()
    observer.stage("Loading the model")
    loaded = models.load(name, dtype=dtype, device=device)
    return as_plain(measure(loaded, settings, observer), settings, model=name, turn=None)


def as_plain(
    scores: dict[str, TaskScore], settings: Settings, *, model: str, turn: int | None
) -> dict[str, Any]:
    """Scores as an object for a JSON file.

    Args:
        scores: By task.
        settings: What was measured.
        model: What it is of.
        turn: The turn that a run stands at; None for a model.
    """
    return {
        "model": model,
        "turn": turn,
        "harness": f"lm-eval {version('lm-eval')}" if set(scores) - set(READING) else None,
        "limit": settings.limit,
        "tasks": {name: asdict(score) for name, score in scores.items()},
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the harness's bars and remarks off the terminal."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


@contextmanager
def _random_kept() -> Iterator[None]:
    """Leave all random numbers as they were: the harness sets their seeds."""
    import numpy

    state, numbers = random.getstate(), numpy.random.get_state()
    devices: Sequence[int] = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(state)
            numpy.random.set_state(numbers)

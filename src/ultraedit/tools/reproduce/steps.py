"""The pieces of work that a plan is made of. Each lies in a place of its own and is done once."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ultraedit.core.errors import DataError
from ultraedit.core.files import write_text
from ultraedit.core.types import Observer
from ultraedit.runs.config import make_config
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.runs.store.schema import is_blank

Status = Literal["done", "interrupted", "to do"]

EDITING = ("editor", "options", "corpus", "corpus_samples", "evaluate_at", "save_model")
"""Settings of a run on which the questions to the unedited model do not depend, nor its answers."""

DATA, NETS, RUNS, ABILITY, UNEDITED = "data", "nets", "runs", "ability", "unedited"
"""Folders of a reproduction, beside those of its tables and figures."""


class Step(Protocol):
    """A piece of work."""

    @property
    def place(self) -> str:
        """Where its result lies, within the folder of the reproduction."""
        ...

    @property
    def needs(self) -> tuple[Step, ...]:
        """What has to be there before."""
        ...

    def status(self, out: Path) -> Status:
        """How far it is."""
        ...

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Do it, or go on with it."""
        ...


def digest(value: Any) -> str:
    """Short name of a JSON value: what has the same one is done once."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def slug(*words: object) -> str:
    """Words as a part of a file name."""
    return "-".join(re.sub(r"[^\w.]+", "-", str(word)).strip("-") for word in words)


@dataclass(frozen=True)
class Build:
    """Build a set of facts of triples."""

    triples: Path
    size: int
    needs: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """Where its set lies, within the folder of the reproduction."""
        return f"{DATA}/{slug('ultraeditbench', self.triples.name.split('.')[0], self.size)}"

    @property
    def facts(self) -> str:
        """The file of the facts."""
        return f"{self.place}/ultraeditbench.jsonl"

    def status(self, out: Path) -> Status:
        """How far it is."""
        return "done" if (out / self.facts).is_file() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Build it."""
        from ultraedit.tools.bench_builder import BuildSettings, TemplateQuestionWriter, build

        folder = out / self.place
        folder.parent.mkdir(parents=True, exist_ok=True)
        settings = BuildSettings(triples=(self.triples,), out=folder, size=self.size)
        build(settings, TemplateQuestionWriter(), observer=observer)


@dataclass(frozen=True)
class Train:
    """Train the net of an editor."""

    settings: Mapping[str, Any]
    """As `RunConfig` takes them; ``limit`` counts training rows."""

    edited: int | None
    """Rows at the start of the file that are edited, and so not trained on; None as the paper."""

    built: bool = False
    """Whether the file of facts lies within the folder of the reproduction."""

    needs: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """Where the net lies."""
        key = _identity(self.settings) | {"edited": self.edited}
        editor, model = self.settings["editor"], Path(self.settings["model"]).name
        return f"{NETS}/{slug(editor, model, digest(key))}.net"

    def status(self, out: Path) -> Status:
        """How far it is."""
        path = out / self.place
        if path.is_file():
            return "done"
        return "interrupted" if path.with_name(f"{path.name}.training").exists() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Train it, or go on with it."""
        from ultraedit.runs.config import TrainingPlan
        from ultraedit.runs.train import train

        path = out / self.place
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = dict(self.settings)
        if self.built:
            settings["data"] = _within(out, settings["data"])
        train(make_config(settings), TrainingPlan(edited=self.edited), path, observer)


@dataclass(frozen=True)
class Run:
    """An ordinary run: ``ultraedit run`` with these settings and this folder does the same."""

    settings: Mapping[str, Any]
    """As `RunConfig` takes them. Files that the reproduction makes are named within its folder."""

    made: tuple[str, ...] = ()
    """Which of the settings ``data`` and ``net`` are such files."""

    needs: tuple[Step, ...] = field(default=(), compare=False)
    """What has to be there before."""

    @property
    def place(self) -> str:
        """Its folder."""
        settings = self.settings
        format, _, _ = settings["data"].partition(":")
        words = (settings["editor"], Path(settings["model"]).name, format, settings["limit"])
        return f"{RUNS}/{slug(*words, digest(_identity(settings)))}"

    def status(self, out: Path) -> Status:
        """How far it is."""
        path = out / self.place / JOURNAL
        if not path.exists() or is_blank(path):
            return "to do"
        journal = Journal.open(path)
        try:
            return "interrupted" if journal.job().ended is None else "done"
        finally:
            journal.close()

    @property
    def told(self) -> str:
        """The file of what the unedited model says to its questions, as to those of other runs."""
        settings = {n: v for n, v in _identity(self.settings).items() if n not in EDITING}
        return f"{UNEDITED}/{slug(Path(self.settings['model']).name, digest(settings))}.json"

    def located(self, out: Path) -> dict[str, Any]:
        """Its settings with the files that the reproduction makes where they are."""
        settings = dict(self.settings)
        if "data" in self.made:
            settings["data"] = _within(out, settings["data"])
        if "net" in self.made:
            settings["options"] = {
                **settings["options"],
                "net": str(out / settings["options"]["net"]),
            }
        return settings

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Make it, or go on with it."""
        from ultraedit.runs import workflow

        folder = out / self.place
        if self.status(out) == "interrupted":
            workflow.resume(folder, observer)
        else:
            told = out / self.told
            workflow.run(make_config(self.located(out)), folder, observer, told=told)


@dataclass(frozen=True)
class CasesFile:
    """A file of facts with single cases spread evenly among them."""

    cases: tuple[tuple[str, str], ...]
    """Prompts and targets."""

    data: str
    """``FORMAT:PATH`` of the others."""

    size: int
    """Facts in all."""

    built: bool = False
    """Whether PATH lies within the folder of the reproduction."""

    needs: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """The file."""
        name = self.data if self.built else _named(self.data)
        return f"{DATA}/{slug('cases', digest([self.cases, name, self.size]))}.jsonl"

    def status(self, out: Path) -> Status:
        """How far it is."""
        return "done" if (out / self.place).is_file() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Write the file: the cases where ``free_answers`` of their number asks."""
        from ultraedit import data

        spec = _within(out, self.data) if self.built else self.data
        others = iter(data.read(spec, limit=self.size - len(self.cases), seed=0))
        places = {i * self.size // len(self.cases): case for i, case in enumerate(self.cases)}
        rows = []
        for number in range(self.size):
            if number in places:
                prompt, target = places[number]
                rows.append({"id": f"case-{number}", "prompt": prompt, "target": target})
            elif (edit := next(others, None)) is not None:
                rows.append({"id": edit.id, "prompt": edit.prompt, "target": edit.target})
        file = out / self.place
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))


@dataclass(frozen=True)
class Shuffled:
    """The first rows of a file of facts in another order."""

    format: str
    path: Path
    size: int
    """Rows that change places. Those behind them follow as they are, for nets to train on."""

    seed: int
    needs: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """The file."""
        words = (self.format, self.size, "order", self.seed)
        return f"{DATA}/{slug(*words, digest([self.path.name, self.size, self.seed]))}.json"

    def status(self, out: Path) -> Status:
        """How far it is."""
        return "done" if (out / self.place).is_file() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Write it."""
        rows = json.loads(self.path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise DataError(
                f"{self.path} holds no list of facts, so their order cannot be changed. "
                "Give a JSON file with a list."
            )
        first = rows[: self.size]
        random.Random(self.seed).shuffle(first)
        file = out / self.place
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps([*first, *rows[self.size :]], ensure_ascii=False))


def _within(out: Path, data: str) -> str:
    """``FORMAT:PATH`` of a file that the reproduction makes, wherever we are."""
    format, _, path = data.partition(":")
    return f"{format}:{out / path}"


def _named(data: str) -> str:
    """``FORMAT:NAME``, wherever the file lies."""
    format, _, path = data.partition(":")
    return f"{format}:{Path(path).name}"


def _identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run the same run: its settings, wherever its files lie."""
    identity = dict(settings) | {"data": _named(settings["data"])}
    for name in ("corpus", "perplexity"):
        if settings.get(name):
            identity[name] = Path(settings[name]).name
    return identity

"""General ability of a model, or of one that a run has edited, as a piece of a plan."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ultraedit.core.files import write_text
from ultraedit.core.types import Observer
from ultraedit.tools.reproduce.steps import ABILITY, Run, Status, digest, slug


@dataclass(frozen=True)
class Tasks:
    """What is measured, and on what."""

    names: tuple[str, ...]
    root: Path | None = field(compare=False)
    """The data folder with the local tasks; None takes the harness's own, from the network."""
    limit: int | None
    """Questions of each task; None for all."""
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Measure:
    """Measure a model, or what a finished run has made of its own."""

    tasks: Tasks
    run: Run | None = None
    model: str | None = None

    @property
    def place(self) -> str:
        """Its file."""
        tasks = self.tasks
        of = self.run.place if self.run is not None else self.model
        key = digest([of, tasks.names, tasks.limit, tasks.root is None, tasks.device, tasks.dtype])
        return f"{ABILITY}/{slug(Path(str(of)).name, key)}.json"

    @property
    def needs(self) -> tuple[Run, ...]:
        """The run."""
        return () if self.run is None else (self.run,)

    def status(self, out: Path) -> Status:
        """How far it is."""
        return "done" if (out / self.place).is_file() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Measure, and write the file."""
        from ultraedit.evaluation.ability import Settings, of_model
        from ultraedit.runs.ability import of_run

        settings = Settings(tasks=self.tasks.names, root=self.tasks.root, limit=self.tasks.limit)
        if self.run is not None:
            scores = of_run(out / self.run.place, settings, observer)
        else:
            assert self.model is not None
            machine = (self.tasks.dtype, self.tasks.device)
            scores = of_model(self.model, settings, *machine, observer=observer)
        path = out / self.place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(scores, indent=2) + "\n")

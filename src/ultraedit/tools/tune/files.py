"""What a search leaves: the preset, the finished trials, and the plot of the Pareto front."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import write_text
from ultraedit.tools.tune.outcome import TuneOutcome
from ultraedit.tools.tune.space import Candidate
from ultraedit.tools.tune.trials import Trial


class TrialLog:
    """Finished trials as JSON lines beside the preset, so that a search can go on.

    The first line says what the trials are of; a file that says something else is refused.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Read what an earlier search has left.

        Raises:
            ConfigError: If the file belongs to another search.
            StorageError: If it cannot be written.
        """
        self.path = path
        self.trials: list[Trial] = []
        if path.exists():
            self.trials = _read(path, about)
        else:
            self._append({"about": dict(about)})

    def add(self, trial: Trial) -> None:
        """Note a finished trial.

        Raises:
            StorageError: If the disk is full.
        """
        self.trials.append(trial)
        self._append(asdict(trial) | {"candidate": trial.candidate._asdict()})

    def _append(self, value: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(value)}\n")
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error


def _read(path: Path, about: Mapping[str, Any]) -> list[Trial]:
    """Trials of an earlier search; a last line that is not whole was being written and is left."""
    lines = path.read_text(encoding="utf-8").splitlines()
    values = []
    for line in lines:
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if not values or values[0].get("about") != json.loads(json.dumps(about)):
        raise ConfigError(
            f"{path} holds the trials of another search: of another model, other facts or other "
            "settings. Choose another --out, or delete it."
        )
    if len(values) < len(lines):
        write_text(path, "".join(f"{json.dumps(value)}\n" for value in values))
    return [Trial(**value | {"candidate": _candidate(value["candidate"])}) for value in values[1:]]


def _candidate(value: Mapping[str, Any]) -> Candidate:
    return Candidate(tuple(value["modules"]), value["step"], value["ridge"])


def write_preset(path: Path, outcome: TuneOutcome, about: Mapping[str, Any]) -> None:
    """Write what ``run --preset`` takes.

    Raises:
        StorageError: If it cannot be written.
    """
    trial = outcome.best
    options = trial.candidate.settings()
    eta, ridge = options.pop("eta"), options.pop("ridge")
    facts = Path(about["data"].partition(":")[2] or about["data"]).name
    notes = [
        f"Written by `ultraedit tune` on {date.today().isoformat()} for {about['model']}.",
        f"Tuning, {trial.rows} rows of {facts}: {_scores(trial)}.",
    ]
    if outcome.held_out is not None:
        notes.append(f"Held out, {outcome.held_out.rows} other rows: {_scores(outcome.held_out)}.")
    if outcome.start is not None:
        notes.append(f"Without tuning, on these: {_scores(outcome.start)}.")
    notes.append(
        "The steps came to " + ", ".join(f"{eta:.2g}" for eta in trial.etas.values()) + "."
    )
    lines = [f"# {note}" for note in notes] + [
        "",
        f"modules = {json.dumps(list(trial.candidate.modules))}",
        f"eta = {json.dumps(eta)}",
        f"ridge = {ridge}",
        f"source = {json.dumps(f'tuned on {trial.rows} rows of {facts}')}",
        "tuned = true",
        "",
        "[options]",
        *(f"{name} = {value}" for name, value in options.items()),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _scores(trial: Trial) -> str:
    parts = {
        "efficacy": trial.efficacy,
        "generalization": trial.generalization,
        "agreement": trial.agreement,
        "harmonic mean": trial.score,
    }
    return ", ".join(f"{k} {100 * v:.1f} %" for k, v in parts.items() if v is not None)

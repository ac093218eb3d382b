"""A fair search: as many trials for every editor, of a declared space, on rows no table scores.

The first trial of each editor is what it does out of the box; the others are drawn from the product
of the values below. Every trial is an ordinary run. The best by the harmonic mean of efficacy,
generalization and agreement is what the comparison at length then uses.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ultraedit.core.errors import DataError
from ultraedit.core.files import write_text
from ultraedit.core.types import Observer
from ultraedit.tools.reproduce.steps import DATA, Run, Status, Step, digest, slug
from ultraedit.tools.reproduce.working import given_up

TRIALS = 12
"""Trials of every editor."""

FIRST_ROW = 5_000
"""Rows before the first that a trial sees: behind those that any run is scored on."""

ROWS, PER_TURN = 60, 20
"""Edits of a trial, and of each of its turns."""

FOLDER = "trials"
"""Folder of the trials, in the package and in a reproduction."""

Values = Mapping[str, Sequence[Any]]

_SEARCHES: Values = {"lr": (0.1, 0.5, 1.0), "clamp": (0.75, 2.0, 4.0), "steps": (10, 20)}
"""Of the editors that search for hidden states."""

_TUNES: Values = {
    "lr": (5e-5, 1e-4, 2e-4, 5e-4, 1e-3),
    "norm_constraint": (None, 2e-3, 5e-4),
    "epochs": (10, 25),
}
"""Of the editors that fine-tune whole matrices."""

SPACE: Mapping[str, Values] = MappingProxyType(
    {
        "ultraedit": {
            "eta": (2.5e-4, 5e-4, 1e-3, 2e-3, "auto"),
            "ridge": (0.1, 1.0, 10.0),
            "protocol": ("paper", "official"),
        },
        "anchored": {
            "written": (0.05, 0.15, 0.4),
            "retention": (1.0, 3.0, 10.0),
            "damping": (1e-5, 1e-4, 1e-3),
            "gradient_damping": (0.3, 1.0, 3.0),
        },
        "lora": {
            "lr": (2e-4, 5e-4, 1e-3),
            "rank": (8, 16, 32),
            "stop_loss": (0.05, 0.1, 0.3),
        },
        "ft-l": _TUNES,
        "ft-m": _TUNES,
        "ft-bf": _TUNES,
        "memit": {**_SEARCHES, "ridge": (100.0, 1_000.0, 15_000.0)},
        "alphaedit": {**_SEARCHES, "ridge": (1.0, 10.0), "threshold": (0.02, 0.1)},
        "rect": {
            **{f"base.{name}": values for name, values in _SEARCHES.items()},
            "keep": (0.2, 0.4, 0.8),
        },
        "prune": {
            **{f"base.{name}": values for name, values in _SEARCHES.items()},
            "base.ridge": (100.0, 1_000.0, 15_000.0),
        },
        "wise": {
            "edit_lr": (0.3, 1.0, 3.0),
            "n_iter": (20, 40, 70),
            "mask_ratio": (0.2, 0.5),
            "act_ratio": (0.5, 0.7, 0.88),
        },
        "in-context": {"threshold": (0.4, 0.55, 0.7, 0.85), "k": (1, 2, 4)},
    }
)
"""Values by option, by editor. Editors with a net have none: their net is what is chosen."""


def trials_of(editor: str) -> list[dict[str, Any]]:
    """Options of each trial of an editor, the defaults first; the same ones always."""
    space = SPACE[editor]
    points = [
        dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())
    ]
    drawn = random.Random(editor).sample(points, TRIALS - 1)
    return [{}, *drawn]


@dataclass(frozen=True)
class Behind:
    """The rows of a file of facts behind those that any run is scored on."""

    format: str
    path: Path
    needs: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """The file."""
        return (
            f"{DATA}/{slug(self.format, 'behind', digest([self.path.name, FIRST_ROW, ROWS]))}.json"
        )

    def status(self, out: Path) -> Status:
        """How far it is."""
        return "done" if (out / self.place).is_file() else "to do"

    def carry_out(self, out: Path, observer: Observer) -> None:
        """Write it."""
        rows = json.loads(self.path.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or len(rows) < FIRST_ROW + ROWS:
            raise DataError(
                f"{self.path} has no {ROWS} rows behind the first {FIRST_ROW:,}, which the search "
                "needs. Give a longer file."
            )
        file = out / self.place
        file.parent.mkdir(parents=True, exist_ok=True)
        part = rows[FIRST_ROW : FIRST_ROW + ROWS]
        write_text(file, json.dumps(part, ensure_ascii=False))


def trial(run: Run, path: Path, options: Mapping[str, Any]) -> Run:
    """The run of a trial: one of the comparison, on other rows, short, with some options.

    Args:
        run: The run of the editor in the comparison.
        path: The file of facts that it is on.
        options: Those of the trial, beside what the method itself sets.
    """
    format, _, _ = run.settings["data"].partition(":")
    behind = Behind(format, path)
    kept = {name: value for name, value in run.settings.items() if name not in _UNASKED}
    settings = kept | {
        "data": f"{format}:{behind.place}",
        "limit": ROWS,
        "edits_per_turn": min(PER_TURN, run.settings["edits_per_turn"]),
        "evaluate_at": [],
        "free_answers": 0,
        "control_questions": 0,
        "options": {**run.settings["options"], **options},
    }
    return Run(settings, ("data",), (behind,))


_UNASKED = ("free_always", "chat_answers", "perplexity", "seed")
"""Settings of a run of the comparison that a trial leaves out."""


def objective(scores: Mapping[str, Any]) -> float:
    """Harmonic mean of efficacy, generalization and agreement; one of zero makes it zero."""
    values = [float(scores[name] or 0) for name in ("efficacy", "generalization", "agreement")]
    return len(values) / sum(1 / value for value in values) if all(values) else 0.0


def collect(runs: Sequence[tuple[dict[str, Any], Run]], out: Path) -> list[dict[str, Any]]:
    """What the trials of an editor gave, in their order; without a score where one failed.

    Args:
        runs: Options and run of each.
        out: Folder of the reproduction.
    """
    rows = []
    for options, run in runs:
        row: dict[str, Any] = {"options": options, "run": run.place}
        path = out / run.place / "summary.json"
        if path.is_file():
            summary = json.loads(path.read_text(encoding="utf-8"))
            names = ("efficacy", "generalization", "specificity", "agreement")
            scores = {name: summary["after"][name] for name in names}
            row |= {"objective": objective(scores), **scores}
            row["edit_seconds"] = summary["edit_seconds"]
        else:
            row |= {"objective": None, "why": given_up(run, out) or "not made"}
        rows.append(row)
    return rows


def best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The best of some trials, the earlier of equals; None if one of them is not made yet."""
    if any(row["objective"] is None and row["why"] == "not made" for row in rows):
        return None
    scored = [row for row in rows if row["objective"] is not None]
    return max(scored, key=lambda row: row["objective"], default=None)


def name_of(model: str, dataset: str) -> str:
    """The file of a search."""
    return f"{slug(dataset, Path(model).name)}.json"


def write(trials: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Write the trials of some editors, those of others that are there being kept."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**known, **trials}, indent=1) + "\n")


def chosen(editor: str, model: str, dataset: str, out: Path) -> Mapping[str, Any] | None:
    """The options that the search chose for an editor; None where it was not made.

    The trials that a reproduction has made itself come before what the package ships.
    """
    name = name_of(model, dataset)
    for rows in (_read(str(out / FOLDER / name)), _shipped(name)):
        row = best(rows[editor]) if editor in rows else None
        if row is not None:
            options: Mapping[str, Any] = row["options"]
            return options
    return None


def _read(path: str) -> dict[str, Any]:
    file = Path(path)
    trials: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return trials


@cache
def _shipped(name: str) -> dict[str, Any]:
    file = files("ultraedit.tools.reproduce") / FOLDER / name
    trials: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return trials

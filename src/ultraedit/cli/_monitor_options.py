"""The options of ``ultraedit run`` about what is watched, and what ends a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from ultraedit.cli._options import _option
from ultraedit.core.errors import ConfigError
from ultraedit.evaluation.metrics.registry import GUARDED, METRICS

WATCH = "What to watch whenever the run is scored"


def _guarded(*, most: bool) -> str:
    """The metrics that a guard takes a largest, or a smallest, value of."""
    return "".join(f", {name}" for name in GUARDED if METRICS[name].lower_is_better == most)


Monitors = Annotated[
    str | None,
    _option(
        "--monitor",
        WATCH,
        "spectrum: norm, leading singular value and effective rank of each weight's change; "
        "locality: KL and top-1 agreement with the unedited model at unrelated prompts. Both with "
        "a comma between them; none unless given.",
        "NAMES",
    ),
]
Control = Annotated[
    int | None,
    _option(
        "--control",
        WATCH,
        "Scores of the N rows behind the edited ones, which are never edited: how much of the gain "
        "is generic. None unless given.",
        "N",
    ),
]
Ability = Annotated[
    str | None,
    _option(
        "--ability",
        WATCH,
        "Tasks of general ability, as of `ultraedit ability`; none unless given.",
        "NAMES",
    ),
]
AbilityLimit = Annotated[
    int | None,
    _option("--ability-limit", WATCH, "First N questions of each; all unless given.", "N"),
]
DataRoot = Annotated[
    Path | None,
    _option(
        "--data-root",
        WATCH,
        "Folder of data with the rows of these tasks in its folder general. ULTRAEDIT_DATA, or "
        "../shared/data, unless given; else they come from the network.",
        "DIR",
    ),
]
Thresholds = Annotated[
    list[str] | None,
    _option(
        "--guard",
        WATCH,
        "End the run where a value is passed: norm, perplexity (times the unedited model's), kl"
        f"{_guarded(most=True)} at most; agreement, control{_guarded(most=False)} at least, such "
        "as norm=0.5. May be repeated; none unless given.",
        "NAME=X",
    ),
]
Action = Annotated[
    str | None,
    _option(
        "--guard-action",
        WATCH,
        "End it there, or take the last turn back too; stop unless given.",
        "stop|back",
    ),
]
Probes = Annotated[
    list[str] | None,
    _option(
        "--probe",
        WATCH,
        "Ask the edits as users do: chat, inside the model's chat template; few-shot, behind "
        "examples; reverse, for the subject; negation, negated. May be repeated; all for all four, "
        "none unless given.",
        "NAME",
    ),
]


def thresholds(texts: Sequence[str]) -> dict[str, float] | None:
    """Read ``NAME=X``; None where there is none.

    Raises:
        ConfigError: If one is not of that form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--guard takes NAME=X, such as norm=0.5, got {text!r}.")
    return found or None


def ability_data(tasks: str | None, given: Path | None) -> Any:
    """The data folder with the rows of tasks; None where there is none, or no task.

    Raises:
        ConfigError: If one is given without tasks.
        DataError: If it is no folder.
    """
    from ultraedit.data import find_root

    if tasks is None:
        if given is not None:
            raise ConfigError(
                "--data-root is for the tasks of --ability. Add them, or leave it out."
            )
        return None
    root = find_root(given)
    return str(root) if root is not None and (root / "general").is_dir() else None

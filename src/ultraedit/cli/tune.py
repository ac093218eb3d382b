"""``ultraedit tune``: find the modules, the step and the ridge for a model and its facts."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.cli._settings import with_settings
from ultraedit.core.settings import EDITOR, OUTPUT

if TYPE_CHECKING:
    from ultraedit.tools.tune import Trial, TuneConfig, TuneOutcome


def _number(name: str, text: str, metavar: str = "N", **more: Any) -> Any:
    return typer.Option(
        name, metavar=metavar, help=text, rich_help_panel=EDITOR, show_envvar=False, **more
    )


Budget = Annotated[
    float | None,
    _number(
        "--budget",
        "Minutes that all of it may take. \\[default: until nothing is left to try]",
        "MINUTES",
    ),
]
Rows = Annotated[int, _number("--rows", "Rows to tune on.", min=1)]
HeldOut = Annotated[
    int, _number("--held-out", "Rows for the final score, which nothing is chosen by.", min=1)
]
Modules = Annotated[
    list[str] | None,
    _number(
        "--modules",
        "A set of modules to try, patterns separated by commas. May be repeated. "
        "\\[default: windows of layers of the MLP]",
        "PATTERNS",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="PRESET.toml",
        help="Where the preset goes, with a plot and the trials beside it. The same search goes on "
        "from its trials. \\[default: tuned.toml]",
        rich_help_panel=OUTPUT,
        show_envvar=False,
    ),
]


@with_settings(
    ("model", "data", "limit", "edits_per_turn", "dtype", "device", "seed"),
    first=("model", "data", "limit", "budget", "rows", "held_out", "modules", "out", "device"),
)
def tune(
    given: dict[str, Any],
    budget: Budget = None,
    rows: Rows = 300,
    held_out: HeldOut = 200,
    modules: Modules = None,
    out: Out = None,
    json: o.Json = False,
) -> None:
    r"""Find out which layers to edit how strongly, and write a preset for run.

    Examples:
      ultraedit tune --model smollm2 --data zsre:zsre_10k.json --budget 10
      ultraedit tune --model ./my-model --data facts.jsonl --out mine.toml

    Takes the last rows of the data, so that a run with --limit is on others. What is maximized is
    the harmonic mean of efficacy, generalization and agreement with the unedited model. Ctrl-C
    keeps the best so far, and the same command goes on.
    """
    preset = out or Path("tuned.toml")
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.models import split_patterns
        from ultraedit.tools.tune import TuneConfig
        from ultraedit.tools.tune import tune as search

        config = TuneConfig(
            budget=budget,
            rows=rows,
            held_out=held_out,
            modules=tuple(tuple(split_patterns(text)) for text in modules) if modules else None,
            **given,
        )
        outcome = search(config, preset, observer)
    if json:
        _output.write_json(_facts(outcome, preset))
    else:
        _show(outcome, preset, config)
    if outcome.interrupted:
        raise KeyboardInterrupt


def _facts(outcome: TuneOutcome, preset: Path) -> dict[str, Any]:
    from ultraedit.tools.tune.outcome import front, on_most_rows

    return {
        "preset": str(preset),
        "best": _trial(outcome.best),
        "held_out": None if outcome.held_out is None else _trial(outcome.held_out),
        "without_tuning": None if outcome.start is None else _trial(outcome.start),
        "front": [_trial(trial) for trial in front(on_most_rows(outcome.trials))],
        "trials": [_trial(trial) for trial in outcome.trials],
        "interrupted": outcome.interrupted,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    candidate = trial.candidate._asdict()
    return asdict(trial) | {"candidate": candidate, "written": trial.written, "score": trial.score}


def _show(outcome: TuneOutcome, preset: Path, config: TuneConfig) -> None:
    from ultraedit.report import format_percent
    from ultraedit.tools.tune.outcome import front, on_most_rows

    last = on_most_rows(outcome.trials)
    scores = {"E": "efficacy", "G": "generalization", "agreement": "agreement", "mean": "score"}
    _output.table(
        ["", "modules", "step", "ridge", *scores],
        [
            (
                "*" if trial == outcome.best else "",
                "\n".join(trial.candidate.modules),
                f"{trial.candidate.step:g}",
                f"{trial.candidate.ridge:g}",
                *(format_percent(getattr(trial, name)) for name in scores.values()),
            )
            for trial in front(last)
        ],
        title=f"Pareto front on {last[0].rows} rows; * chosen; step 1 is that of --eta auto",
        right=["step", "ridge", *scores],
        whole=["modules", *scores],
    )
    _output.line("E efficacy, G generalization, agreement with the unedited model, harmonic mean.")
    _output.line()
    rows = [("tuned", outcome.held_out), ("without tuning", outcome.start)]
    if any(trial is not None for _, trial in rows):
        _output.table(
            ["on held-out rows", "rows", *scores],
            [
                (name, trial.rows, *(format_percent(getattr(trial, s)) for s in scores.values()))
                for name, trial in rows
                if trial is not None
            ],
            right=["rows", *scores],
        )
        _output.line()
    if outcome.interrupted:
        _output.line("Interrupted: this is the best so far. The same command goes on.")
    _output.pairs({"preset": preset, "plot": preset.with_suffix(".png")})
    run = ["ultraedit", "run", "--model", config.model, "--data", config.data, "--preset"]
    _output.line(f"Try next: {shlex.join([*run, str(preset), '--limit', '300'])}")

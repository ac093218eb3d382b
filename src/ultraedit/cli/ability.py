"""``ultraedit ability``: how a model does on tasks that no edit is about."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._job import refuse_beside
from ultraedit.cli._progress import progress
from ultraedit.core.files import is_run, write_text
from ultraedit.core.settings import FACTS, MACHINE, OUTPUT

if TYPE_CHECKING:
    from ultraedit.evaluation.ability import Settings

Tasks = Annotated[
    str,
    typer.Option(
        "--tasks",
        help="Tasks, with commas between them: sst2, mrpc, rte, nli and mmlu have files in the "
        "data folder, any other of lm-eval's comes from the network; next-token and last-word read "
        "ordinary text of the data folder, where small models are above chance.",
        metavar="NAMES",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]
DataRoot = Annotated[
    Path | None,
    o._option(
        "--data-root",
        FACTS,
        "Folder of data with the tasks' files in its folder general; without "
        "one, tasks come from the network. \\[default: ULTRAEDIT_DATA, or ../shared/data]",
        "DIR",
    ),
]
Limit = Annotated[
    int | None,
    o._option("--limit", FACTS, "First N questions of each task. \\[default: all]", "N"),
]
Beside = Annotated[
    str | None,
    o._option("--beside", FACTS, "Another model, to be measured first, such as the base.", "MODEL"),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        help="Questions at once.",
        metavar="N",
        rich_help_panel=MACHINE,
        show_envvar=False,
    ),
]
Out = Annotated[
    Path | None, o._option("--out", OUTPUT, "Also write the scores to this JSON file.", "FILE")
]


def ability(
    model: o.ModelArgument,
    tasks: Tasks = "sst2,mrpc,nli,mmlu",
    data_root: DataRoot = None,
    limit: Limit = None,
    beside: Beside = None,
    batch_size: BatchSize = 8,
    dtype: o.Dtype = None,
    device: o.Device = None,
    out: Out = None,
    json: o.Json = False,
) -> None:
    r"""Measure the general ability of a model, or of the edited model of a run.

    Examples:
      ultraedit ability smollm2 --tasks sst2,mmlu --limit 200
      ultraedit ability zsre-run --beside smollm2 --tasks next-token,last-word

    All but next-token and last-word need lm-eval, which asks the model in memory: pip install
    'ultraedit[ability]'. A run folder in the place of a model is measured where it stands, and
    next-token then also says how far its distributions are from the unedited model's.
    """
    from ultraedit.data import find_root
    from ultraedit.evaluation.ability import READING, Settings, of_model, require_tasks
    from ultraedit.runs.ability import of_run

    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    require_tasks(names)
    root = find_root(data_root)
    general = root is not None and (root / "general").is_dir()
    local = general or any(name in READING for name in names)
    settings = Settings(
        tasks=names, root=root if local else None, limit=limit, batch_size=batch_size
    )
    machine = (dtype or "auto", device or "auto")
    run = is_run(Path(model))
    if run:
        refuse_beside("A run folder", {"dtype": dtype, "device": device})
    measurements = []
    with progress() as observer:
        if beside is not None:
            measurements.append(of_model(beside, settings, *machine, observer=observer))
        if run:
            measurements.append(of_run(Path(model), settings, observer))
        else:
            measurements.append(of_model(model, settings, *machine, observer=observer))
    result: Any = (
        measurements[0]
        if len(measurements) == 1
        else {"beside": measurements[0], **measurements[1]}
    )
    if out is not None:
        _write(out, result)
    if json:
        _output.write_json(result)
    else:
        _show(measurements, settings)


def _write(out: Path, result: Any) -> None:
    write_text(out, json_module.dumps(result, indent=2) + "\n")


def _show(measurements: list[dict[str, Any]], settings: Settings) -> None:
    """Print a row for each task, a column for each model."""
    names = [each["model"] for each in measurements]
    rows = [
        (task, *(_cell(each["tasks"][task]) for each in measurements)) for task in settings.tasks
    ]
    _output.table(("task", *names), rows, right=names)
    _output.line()
    _output.line("Share of right answers and its standard error.")
    _output.pairs(
        {
            "questions": ", ".join(
                f"{task} {score['questions']:,}"
                for task, score in measurements[-1]["tasks"].items()
            ),
            **{
                f"KL from unedited, {task}": f"{score['divergence']:.3f} nats per token"
                for task, score in measurements[-1]["tasks"].items()
                if score["divergence"] is not None
            },
            "turn": measurements[-1]["turn"],
        }
    )


def _cell(score: dict[str, Any]) -> str:
    from ultraedit.report import format_percent

    error = score["stderr"]
    return format_percent(score["score"]) + ("" if error is None else f" ± {100 * error:.1f}")

"""``ultraedit train``: a net for an editor that needs one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._job import settle
from ultraedit.cli._progress import progress

if TYPE_CHECKING:
    from ultraedit.editors.families.fit import Check
    from ultraedit.runs.train import TrainResult

TRAINING = "How to train"

EditorArgument = Annotated[
    str, typer.Argument(metavar="EDITOR", help="Editor with a net, such as malmen.")
]
Edited = Annotated[
    int | None,
    o._option(
        "--edited",
        o.WHAT,
        "Rows at the start of the file that will be edited, and are never trained on. As many as "
        "the paper edits unless given (20,000; 17,000 of WikiBigEdit), or half of a shorter file.",
        "N",
    ),
]
Limit = Annotated[
    int | None,
    o._option(
        "--limit",
        o.WHAT,
        "Train on N of the rows behind these at most. As the paper unless given: all of them, or "
        "as many as are edited (rledit; WikiBigEdit and UltraEditBench).",
        "N",
    ),
]
Validation = Annotated[
    int,
    o._option(
        "--validation",
        TRAINING,
        "Rows at the end of the training rows that are only looked at, turn after turn as in a "
        "run: a net that is good for one turn may be bad for ten. 20 unless given, 0 for none.",
        "N",
    ),
]
Epochs = Annotated[
    int, o._option("--epochs", TRAINING, "Passes over the training rows; 1 unless given.", "N")
]
CheckEvery = Annotated[
    int,
    o._option(
        "--check-every",
        TRAINING,
        "Turns between two looks at the validation rows; 10 unless given.",
        "N",
    ),
]
Patience = Annotated[
    int,
    o._option(
        "--patience",
        TRAINING,
        "End after N looks without a better net; 10 unless given.",
        "N",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="File for the net. What is unfinished lies beside it, named FILE.training.",
        rich_help_panel=o.RESULT,
        metavar="FILE",
        show_envvar=False,
    ),
]


def train(
    editor: EditorArgument,
    out: Out,
    model: o.Model = None,
    data: o.Data = None,
    edited: Edited = None,
    limit: Limit = None,
    edits_per_turn: o.EditsPerTurn = None,
    modules: o.Modules = None,
    protocol: o.Protocol = None,
    set: o.Assignments = None,
    preset: o.Preset = None,
    epochs: Epochs = 1,
    validation: Validation = 20,
    check_every: CheckEvery = 10,
    patience: Patience = 10,
    dtype: o.Dtype = None,
    device: o.Device = None,
    seed: o.Seed = None,
    json: o.Json = False,
) -> None:
    r"""Train the net of an editor that has one, for `ultraedit run --net`.

    Examples:
      ultraedit train malmen --model smollm2 --data zsre:z.json --out z.net
      ultraedit train rledit --model smollm2 --data facts.jsonl --out f.net

    The model stays as it is. The net that does best on the validation rows is kept; it fits this
    model and these modules alone. The same command goes on with a training that was stopped or
    killed, to the same net.
    """
    from ultraedit.runs.train import Plan
    from ultraedit.runs.train import train as carry_out

    given = {
        "editor": editor,
        "model": model,
        "data": data,
        "limit": limit,
        "edits_per_turn": edits_per_turn,
        "modules": modules,
        "protocol": protocol,
        "preset": preset,
        "dtype": dtype,
        "device": device,
        "seed": seed,
    }
    config = settle(given, assignments=set or ())
    plan = Plan(
        edited=edited,
        validation=validation,
        epochs=epochs,
        check_every=check_every,
        patience=patience,
    )
    with progress() as observer:
        observer.stage("Getting ready")
        result = carry_out(config, plan, out, observer, _say)
    if json:
        _output.write_json(result.summary())
    else:
        show_result(result)


def _say(check: Check) -> None:
    _output.message(
        f"Validation after {check.turns:,} turns: loss {check.loss:.4f}, "
        f"efficacy {check.efficacy:.1%}, generalization {check.generalization:.1%}, "
        f"agreement {check.agreement:.1%}"
    )


def show_result(result: TrainResult) -> None:
    """Print what a training did, and what to do with the net."""
    from ultraedit.report import format_count, format_seconds

    fitted, about = result.fitted, result.net.about
    best = min(fitted.checks, key=lambda check: check.loss, default=None)
    resumed = f", {result.resumed_at:,} of them before" if result.resumed_at else ""
    facts: dict[str, Any] = {
        "trained": f"{format_count(fitted.turns, 'turn')}{resumed}, on rows "
        f"{about['training']['rows']} of {about['training']['data']}",
        "stopped early": "yes" if fitted.stopped_early else None,
        "best": best and f"after {best.turns:,} turns, loss {best.loss:.4f}",
        "time": format_seconds(result.seconds),
        "net": result.path,
    }
    _output.pairs(facts)
    _output.line()
    _output.line(
        f"Try next: ultraedit run --editor {about['editor']} --net {result.path} "
        f"--model {about['model']} --data {about['training']['data']} --limit 100"
    )

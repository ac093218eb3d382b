"""``ultraedit train``: a net for an editor that needs one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._job import settle
from ultraedit.cli._progress import progress
from ultraedit.cli._settings import with_settings
from ultraedit.core.settings import OUTPUT
from ultraedit.runs.config import TrainingPlan

if TYPE_CHECKING:
    from ultraedit.editors.families.fit import ValidationCheck
    from ultraedit.runs.train import TrainResult

EditorArgument = Annotated[
    str, typer.Argument(metavar="EDITOR", help="Editor with a net, such as malmen.")
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="File for the net. What is unfinished lies beside it, named FILE.training.",
        rich_help_panel=OUTPUT,
        metavar="FILE",
        show_envvar=False,
    ),
]


FIRST = (
    *("model", "data", "out", "edited", "limit", "edits_per_turn", "modules", "epochs"),
    *("validation", "device"),
)
"""The options of the main panel."""

OF_RUN = (
    *("model", "data", "limit", "edits_per_turn", "modules", "protocol", "preset", "dtype"),
    *("device", "seed"),
)
OF_TRAINING = tuple(TrainingPlan.model_fields)


@with_settings(
    (*OF_RUN, *OF_TRAINING),
    first=FIRST,
    help={"limit": "Train on at most N of the rows after these."},
    defaults={"limit": "as in the paper: all, or as many as are edited"},
)
def train(
    editor: EditorArgument,
    out: Out,
    given: dict[str, Any],
    set: o.Assignments = None,
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
    from ultraedit.runs.train import train as carry_out

    plan = TrainingPlan(**{name: given.pop(name) for name in OF_TRAINING if name in given})
    config = settle({"editor": editor, **given}, assignments=set or ())
    with progress() as observer:
        observer.stage("Getting ready")
        result = carry_out(config, plan, out, observer, _say)
    if json:
        _output.write_json(result.summary())
    else:
        show_result(result)


def _say(check: ValidationCheck) -> None:
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

"""The program: its commands, put together."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ultraedit.cli import (
    ability,
    apply,
    ask,
    build_bench,
    compare,
    data,
    demo,
    diff,
    doctor,
    edit,
    editors,
    eval,
    export,
    find,
    history,
    inspect,
    models,
    plan,
    prune,
    push,
    report,
    reproduce,
    revert,
    rollback,
    run,
    show,
    stats,
    train,
    tune,
    verify,
)
from ultraedit.cli._errors import Commands, drop_output
from ultraedit.cli._help import add, page
from ultraedit.cli._output import message, show_log
from ultraedit.core.errors import ProcessError
from ultraedit.host import distributed as ranks

WRITE = "Write facts into a model"
RUNS = "Look into a run, and take edits back"
ASK = "See what a model says"
CARRY = "Carry the edits away"
LOOK_UP = "See what there is"
BUILD = "Make data"

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={
        "auto_envvar_prefix": "ULTRAEDIT",
        "help_option_names": ["-h", "--help"],
    },
)

add(app, "demo", demo.demo, WRITE)
add(app, "edit", edit.edit, WRITE)
add(app, "run", run.run, WRITE)
add(app, "train", train.train, WRITE)
add(app, "tune", tune.tune, WRITE)
add(app, "ask", ask.ask, ASK)
add(app, "eval", eval.evaluate, ASK)
add(app, "ability", ability.ability, ASK)
add(app, "report", report.report, ASK)
add(app, "compare", compare.compare, ASK)
app.add_typer(reproduce.app, name="reproduce", rich_help_panel=ASK)
add(app, "history", history.history, RUNS)
add(app, "show", show.show, RUNS)
add(app, "find", find.find, RUNS)
add(app, "rollback", rollback.rollback, RUNS)
add(app, "revert", revert.revert, RUNS)
add(app, "prune", prune.prune, RUNS)
add(app, "verify", verify.verify, RUNS)
add(app, "export", export.export, CARRY)
add(app, "apply", apply.apply, CARRY)
add(app, "diff", diff.diff, CARRY)
add(app, "inspect", inspect.inspect, CARRY)
add(app, "push", push.push, CARRY)
add(app, "build-bench", build_bench.build_bench, BUILD)
add(app, "doctor", doctor.doctor, LOOK_UP)
add(app, "plan", plan.plan, LOOK_UP)
app.add_typer(editors.app, name="editors", rich_help_panel=LOOK_UP)
app.add_typer(models.app, name="models", rich_help_panel=LOOK_UP)
app.add_typer(stats.app, name="stats", rich_help_panel=LOOK_UP)
app.add_typer(data.app, name="data", rich_help_panel=LOOK_UP)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ultraedit {version('ultraedit')}")
        raise typer.Exit


def ultraedit(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and end.",
            metavar="",
            callback=_print_version,
            is_eager=True,
            allow_from_autoenv=False,
        ),
    ] = False,
) -> None:
    """Write facts into the weights of a language model, turn after turn, without training.

    Examples:
      ultraedit demo
      ultraedit edit facts.jsonl --model smollm2 --out edited

    Results go to the standard output, progress and messages to the standard error. Every option
    can be given as a variable too: ULTRAEDIT_RUN_EDITS_PER_TURN is --edits-per-turn of run.
    """
    show_log()


app.callback(help=page(ultraedit.__doc__ or ""))(ultraedit)


def main() -> None:
    """Run the command line, as ``ultraedit`` and ``python -m ultraedit`` do."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows a question mark in its place.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with ranks.joined():
            app(prog_name="ultraedit") if ranks.is_first() else _help()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()


def _help() -> None:
    """Do what the first process of the job asks, silently."""
    try:
        ranks.follow()
    except ProcessError as error:
        if ranks.rank() == 1:  # One of those that are left says it for all.
            message(str(error))
        sys.exit(1)

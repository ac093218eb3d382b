"""The program: its commands, put together."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Annotated

import typer

from ultraedit.cli._errors import drop_output
from ultraedit.cli._help import page
from ultraedit.cli._output import line, message, show_log
from ultraedit.cli._table import Commands
from ultraedit.core.errors import ProcessError
from ultraedit.host import distributed

WAYS_IN = {
    "demo": ("Try it: edit a small model with facts that come with the program", ""),
    "edit": ("Write your own facts into a model", "facts.csv --model smollm2 --out edited"),
    "init": ("The same with a file of settings", "--model smollm2 --facts facts.csv"),
    "serve": ("Serve an edited model, and go on editing", "edited"),
    "compare": ("Compare editors, by their runs", "run-1 run-2"),
}
"""What is shown where no command is given: what for, and the arguments, by command."""

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={
        "auto_envvar_prefix": "ULTRAEDIT",
        "help_option_names": ["-h", "--help"],
    },
)


def _version() -> str:
    from importlib.metadata import version  # imports the parser of e-mails

    return f"ultraedit {version('ultraedit')}"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(_version())
        raise typer.Exit


def _show_ways_in(names: Collection[str]) -> None:
    """Show how to begin, with the commands that there are."""
    line(f"{_version()} writes facts into the weights of a language model.\n")
    for name, (what, arguments) in WAYS_IN.items():
        if name in names:
            line(f"{what}\n  $ {' '.join(filter(None, ('ultraedit', name, arguments)))}")
    line("\nAll commands: ultraedit --help. Of one: ultraedit edit --help.")


def ultraedit(
    ctx: typer.Context,
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
    if ctx.invoked_subcommand is None:
        _show_ways_in(ctx.command.commands)  # type: ignore[attr-defined]
        raise typer.Exit
    show_log()


app.callback(help=page(ultraedit.__doc__ or ""))(ultraedit)


def main() -> None:
    """Run the command line, as ``ultraedit`` and ``python -m ultraedit`` do."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows a question mark in its place.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with distributed.joined():
            app(prog_name="ultraedit") if distributed.is_first() else _run_worker()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()


def _run_worker() -> None:
    """Execute the calls of the first process of the job, silently."""
    try:
        distributed.worker_loop()
    except ProcessError as error:
        if distributed.rank() == 1:  # One of those that are left says it for all.
            message(str(error))
        sys.exit(1)

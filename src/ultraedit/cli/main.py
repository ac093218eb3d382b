"""The program: its commands, put together."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ultraedit.cli._errors import drop_output
from ultraedit.cli._help import page
from ultraedit.cli._output import message, show_log
from ultraedit.cli._table import Commands
from ultraedit.core.errors import ProcessError
from ultraedit.host import distributed as ranks

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

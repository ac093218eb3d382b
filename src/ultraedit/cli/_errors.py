"""What becomes of an error on its way to the user: one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from ultraedit.cli._help import Contents
from ultraedit.core.errors import UltraEditError
from ultraedit.core.symbols import visible

USER_ERROR = 2
"""Exit code of every mistake that the user can put right, the same as for a wrong option."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Guarded(Contents):
    """A group of commands whose expected errors end in a sentence, not in a traceback.

    What is not expected passes through with its traceback: it is a fault of the program.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UltraEditError as error:
            _say(str(error))
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            drop_output()
            raise typer.Exit(1) from None


def _say(message: str) -> None:
    typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {visible(message)}", err=True)


def drop_output() -> None:
    """Send the rest of the output nowhere: whoever was reading it has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

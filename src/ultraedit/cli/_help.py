"""What help pages look like: prose that fills the terminal, examples that keep their lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup


def page(text: str) -> str:
    """Turn a docstring into the markup of a help page.

    Under the heading ``Examples:`` stands a command a line. The lines of every other paragraph
    are joined: help would keep each newline, and a terminal breaks lines elsewhere.
    """
    return "\n\n".join(_paragraph(part) for part in inspect.cleandoc(text).split("\n\n"))


def _paragraph(text: str) -> str:
    first, *rest = text.splitlines()
    if first != "Examples:":
        return escape(" ".join((first, *rest)))
    commands = (f"[not dim]$ {escape(line.strip())}[/not dim]" for line in rest)
    return "\n".join(("[bold not dim]Examples:[/bold not dim]", *commands))


class HelpPage(TyperCommand):
    """A command whose help says nothing about the type of ``--help``."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help``."""
        return _plain(super().get_help_option(ctx))


class Contents(TyperGroup):
    """A group of commands whose help says nothing about the type of ``--help``."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help``."""
        return _plain(super().get_help_option(ctx))


def _plain(option: Any) -> Any:
    if option is not None:
        option.metavar = ""  # Typer shows <bool> for every switch.
    return option


def group(text: str) -> typer.Typer:
    """Begin a group of commands, such as ``ultraedit models``."""
    return typer.Typer(cls=Contents, no_args_is_help=True, help=page(text))


def add(
    app: typer.Typer, name: str, function: Callable[..., None], panel: str | None = None
) -> None:
    """Make a function a command, and its docstring the help page."""
    make = app.command(name, cls=HelpPage, help=page(function.__doc__ or ""), rich_help_panel=panel)
    make(function)

"""Write docs/cli.md from the commands themselves: ``python docs/make_cli.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text
from typer.main import get_command

from ultraedit.cli.main import app

PAGE = Path(__file__).with_name("cli.md")


def render() -> str:
    """The whole page."""
    intro = (
        "# Command line\n\n"
        "Made from the help pages by `python docs/make_cli.py`; a test fails when it is stale.\n"
    )
    return intro + "".join(_command(get_command(app), "ultraedit", 0))


def _command(command: Any, path: str, depth: int) -> Iterator[str]:
    """A chapter for a command, and one for each command inside it."""
    yield f"\n{'#' * min(depth + 2, 4)} {path}\n\n{_prose(command.help)}"
    params = [param for param in command.params if not getattr(param, "hidden", False)]
    if params:
        yield "\n" + "".join(f"- {_entry(param)}\n" for param in params)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _command(inner, f"{path} {name}", depth + 1)


def _prose(markup: str) -> str:
    """A help page without its markup, its examples as code."""
    parts = []
    for part in Text.from_markup(markup).plain.split("\n\n"):
        heading, *commands = part.split("\n")
        lines = "\n".join(line.removeprefix("$ ") for line in commands)
        parts.append(f"```sh\n{lines}\n```" if commands else heading)
    return "\n\n".join(parts) + "\n"


def _entry(param: Any) -> str:
    """One argument or option."""
    names = [param.metavar] if param.param_type_name == "argument" else [*param.opts, param.metavar]
    name = " ".join(filter(None, names))
    default = "" if param.default in (None, False) else f" Default: `{param.default}`."
    said = str(param.help).replace(r"\[", "[")  # escaped for rich, which takes brackets for markup
    return f"`{name}`: {said}{default}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")

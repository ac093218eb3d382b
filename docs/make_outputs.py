"""Run the commands of a tutorial, and write what they print into it.

    python docs/make_outputs.py docs/tutorials/company-facts.md

A file that a page begins with stands in a block behind ``<!-- file: NAME -->``. Every block of
``sh`` is run, but for one behind ``<!-- not run here -->``; a block of ``text`` right behind it
holds what it prints. All blocks of a page are run in one new folder, in their order.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n\n```text\n(?P<output>.*?)^```$)?",
    flags=re.DOTALL | re.MULTILINE,
)
WIDTH = 88
"""Columns of the terminal that the commands print to."""

OF_THE_MACHINE = ("speed  ", "peak memory  ", "copied from  /")
"""Lines that are left out, with those that they go on in: they tell of the machine on that day."""


class Step(NamedTuple):
    """A file to write, or commands to run."""

    file: str | None
    """Name of the file; None of commands."""

    code: str
    """What is in the file, or the commands."""

    output: str | None
    """What the page says that they print; None if it says nothing."""

    span: tuple[int, int]
    """Where in the page the output stands."""


def steps(page: str) -> Iterator[Step]:
    """The files and commands of a page, in their order."""
    for match in BLOCK.finditer(page):
        mark = match["mark"] or ""
        if mark.startswith("file: "):
            yield Step(mark.removeprefix("file: "), match["code"], None, (0, 0))
        elif match["language"] == "sh" and mark != "not run here":
            yield Step(None, match["code"], match["output"], match.span("output"))


def run(step: Step, folder: Path) -> str:
    """Write the file, or run the commands and return what they print.

    Raises:
        RuntimeError: If a command ends with another exit code than 0.
    """
    if step.file is not None:
        (folder / step.file).write_text(step.code, encoding="utf-8")
        return ""
    names = {"ultraedit": "-m ultraedit", "python": ""}
    ours = (f'{name}() {{ "{sys.executable}" {how} "$@"; }}' for name, how in names.items())
    done = subprocess.run(
        ["bash", "-euc", "\n".join([*ours, step.code])],
        cwd=folder,
        env=os.environ | {"COLUMNS": str(WIDTH), "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{step.code}ended with exit code {done.returncode}:\n{done.stderr}")
    return without_machine(done.stdout)


def without_machine(printed: str) -> str:
    """What is printed, without the lines that differ from machine to machine."""
    kept, left_out = [], False
    for line in map(str.rstrip, printed.splitlines()):
        left_out = line.startswith(OF_THE_MACHINE) or (left_out and line.startswith(" "))
        if not left_out:
            kept.append(f"{line}\n")
    return "".join(kept)


def outputs(page: str) -> list[str]:
    """Run a page in a new folder: what its files and commands print, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        return [run(step, Path(folder)) for step in steps(page)]


def filled(page: str, printed: list[str]) -> str:
    """The page with these outputs in the place of those that it has."""
    pieces, at = [], 0
    for step, output in zip(steps(page), printed, strict=True):
        if step.output is not None:
            start, end = step.span
            pieces += [page[at:start], output]
            at = end
    return "".join([*pieces, page[at:]])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        printed = outputs(path.read_text(encoding="utf-8"))
        # Read again: its words may have been changed meanwhile.
        path.write_text(filled(path.read_text(encoding="utf-8"), printed), encoding="utf-8")

"""``ultraedit report``: make the report of a run anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a finished run.")]


def report(folder: Folder, json: o.Json = False) -> None:
    r"""Write the report of a finished run again, from its records alone.

    That is report.md with its plots, and report.html, the same page in one file for a browser.

    Examples:
      ultraedit report demo-run
      ultraedit report runs/ultraedit-smollm2-zsre-1 --json
    """
    from ultraedit.runs.workflow import write_report

    write_report(folder)
    pages = {
        "report": str(folder / "report.md"),
        "page": str(folder / "report.html"),
        "plots": [str(plot) for plot in sorted(folder.glob("*.png"))],
    }
    if json:
        _output.write_json(pages)
    else:
        _output.pairs(pages | {"plots": "\n".join(pages["plots"])})

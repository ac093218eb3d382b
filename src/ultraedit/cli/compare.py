"""``ultraedit compare``: several runs side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output

if TYPE_CHECKING:
    from ultraedit.report.comparison import Comparison

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="The --out folders of two finished runs or more."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Also write a page: FILE.html, one file for a browser, or FILE.md with plots beside "
        "it. \\[default: none]",
        show_default=False,
    ),
]


def compare(runs: Folders, out: Out = None, json: o.Json = False) -> None:
    r"""Show finished runs of the same facts and the same model side by side.

    Examples:
      ultraedit compare ultraedit-run memit-run ft-run
      ultraedit compare monday-run tuesday-run --out compared.html

    Scores, perplexity, time, memory, and the settings that differ; the page also has the curves of
    the runs over each other. A run of other facts or of another unedited model than the first
    one's is left out, and it is said why. `ultraedit diff` compares what runs did to the weights.
    """
    from ultraedit.tools.comparison import check_out, compare_runs, write_comparison

    if out is not None:
        check_out(out)
    comparison = compare_runs(runs)
    for warning in comparison.warnings:
        _output.message(f"Warning: {warning}")
    written = [] if out is None else write_comparison(comparison, out)
    if json:
        _output.write_json(_as_json(comparison, written))
        return
    _show(comparison)
    if written:
        _output.line()
        _output.pairs({"page": written[-1], "plots": ", ".join(map(str, written[:-1])) or None})


def _as_json(comparison: Comparison, written: list[Path]) -> dict[str, Any]:
    return {
        "runs": [
            {"name": each.name, "folder": str(each.run.folder)} | each.figures._asdict()
            for each in comparison.runs
        ],
        "settings": comparison.settings(),
        "left_out": [asdict(each) for each in comparison.left_out],
        "warnings": comparison.warnings,
        "written": [str(path) for path in written],
    }


def _show(comparison: Comparison) -> None:
    """The figures, a column for each run, then the settings that differ."""
    from ultraedit.report.comparison_page import measured, setting

    names = [each.name for each in comparison.runs]
    columns = ["after the edits", *names]
    _output.table(columns, measured(comparison), right=names, whole=columns[:1])
    _output.line()
    differing = comparison.settings()
    if not differing:
        _output.line("The runs were made with the same settings.")
        return
    _output.table(
        ["settings that differ", *names],
        [[name, *map(setting, values)] for name, values in differing.items()],
        right=names,
        whole=["settings that differ"],
    )

"""``ultraedit diff``: what lies between two changes, or two models."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress

if TYPE_CHECKING:
    from ultraedit.export.difference import Difference

SHOWN = 2
"""How many singular values the table has; --json has more."""

_WHAT = (
    "Delta file, adapter (folder of PEFT or .gguf), run folder, or a model as in other commands."
)

A = Annotated[str, typer.Argument(metavar="A", help=_WHAT)]
B = Annotated[str, typer.Argument(metavar="B", help=f"What to compare it with. {_WHAT}")]


def diff(a: A, b: B, json: o.Json = False) -> None:
    r"""Show how far apart two runs, deltas or models are, module by module.

    Examples:
      ultraedit diff monday-run tuesday-run
      ultraedit diff edited smollm2 --json

    Two changes are compared as changes. Where one of the two is a model, weights are compared, and
    only those that differ are listed.
    """
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.export.difference import compare

        difference = compare(a, b, observer)
    if not difference.same_base:
        _output.message(
            "A and B are changes of different base models: the numbers compare the changes alone."
        )
    if json:
        _output.write_json({"a": a, "b": b} | asdict(difference))
    else:
        _show(a, b, difference)


def _show(a: str, b: str, difference: Difference) -> None:
    from ultraedit.report import format_number, format_percent
    from ultraedit.report.formats import short_names

    if not difference.modules:
        _output.line(f"{a} and {b} have the same weights.")
        return
    names = short_names([each.module for each in difference.modules])
    _output.table(
        ["module", "shape", "norm", "relative", "rank", "effective", "largest"],
        [
            (
                name,
                "x".join(map(str, each.shape)),
                format_number(each.norm),
                format_percent(each.relative),
                each.rank,
                format_number(each.effective_rank),
                ", ".join(map(format_number, each.singular_values[:SHOWN])),
            )
            for name, each in zip(names, difference.modules, strict=True)
        ],
        title=f"A - B, of {difference.of}",
        right=["norm", "relative", "rank", "effective"],
        whole=["module"],
    )
    _output.line()
    _output.line(
        "norm: Frobenius norm of A - B; relative: over that of B; rank: singular values above the "
        "rounding of float32; effective: directions really used; largest: leading singular values."
    )

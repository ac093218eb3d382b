"""``ultraedit demo``: the whole program at work on facts that come with it."""

from __future__ import annotations

from importlib.resources import as_file, files
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._job import carry_out, settle, show_result
from ultraedit.core.settings import FACTS, OUTPUT
from ultraedit.editors import DEFAULT_EDITOR

EDITS_PER_TURN = 61
"""Few enough for several turns, so that the plots have something to show."""

FREE_ANSWERS = 40
"""Facts asked in free generation, with their other questions: a minute's worth of answers."""

EXAMPLES = 8
"""Answers shown at the end."""

DemoModel = Annotated[
    str, typer.Option("--model", metavar="MODEL", help=o.MODEL_HELP, rich_help_panel=FACTS)
]
DemoOut = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for the results; with the next free number if it is taken.",
        rich_help_panel=OUTPUT,
    ),
]


def demo(
    model: DemoModel = "smollm2",
    dtype: o.Dtype = None,
    device: o.Device = None,
    out: DemoOut = Path("demo-run"),
    json: o.Json = False,
) -> None:
    r"""Edit a small model with facts that come with the program, and show what changed.

    Examples:
      ultraedit demo
      ultraedit demo --model gemma3-270m --out demo-gemma
    """
    from ultraedit.report import examples

    folder = _free(out)
    with as_file(files("ultraedit") / "data" / "demo_facts.jsonl") as facts:
        given = {
            "model": model,
            "data": f"jsonl:{facts}",
            "editor": DEFAULT_EDITOR,
            "edits_per_turn": EDITS_PER_TURN,
            "free_answers": FREE_ANSWERS,
            "chat_answers": True,
            "dtype": dtype,
            "device": device,
        }
        done = carry_out(settle(given), folder)
    chosen = examples(done.folder, EXAMPLES)
    if json:
        answers = [answer._asdict() for answer in chosen]
        _output.write_json({"folder": str(done.folder)} | done.summary | {"examples": answers})
        return
    _output.answers(chosen)
    _output.line()
    show_result(done)


def _free(out: Path) -> Path:
    """The folder, or the next that is free: an earlier demo is never overwritten."""
    numbered = (out.with_name(f"{out.name}-{n}") for n in count(2))
    if not out.exists():
        return out
    free = next(path for path in numbered if not path.exists())
    _output.message(f"{out} is there already; the results go to {free}.")
    return free

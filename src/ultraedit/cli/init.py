"""``ultraedit init``: a commented file of settings for a model and its facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._facts import show_first_rows, with_columns
from ultraedit.editors import DEFAULT_EDITOR

Facts = Annotated[
    str,
    typer.Option("--facts", metavar="FORMAT:PATH", help=o.DATA_HELP, show_envvar=False),
]
ProjectModel = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help=o.MODEL_HELP, show_envvar=False),
]
Project = Annotated[
    Path,
    typer.Option("--out", metavar="FILE", help="The file to write.", show_envvar=False),
]

TEMPLATE = """\
# Settings of a run for `ultraedit run --config {file}`.
# Each is an option of `ultraedit run` without its dashes; one on the command line beats this file.

model = {model}
# {count}. Relative paths start where the command is typed.
data = {data}

# `ultraedit editors list` shows the others.
editor = {editor}
# Facts that are written together. Fewer: more turns, each of which can be gone back to.
edits_per_turn = 100
# Rephrasings of each fact that are written too, and then not scored.
# `ultraedit data enrich` adds some.
use_rephrases = 0

# What is asked before and after. More takes longer and tells more.
# free_answers = 50         # facts that the model answers in its own words; all if left out
chat_answers = true         # in the chat template too
control_questions = 100     # questions that have nothing to do with the facts, up to 200
# perplexity = "text.txt"   # ordinary text, to see whether the model still reads it well

# guard = {{agreement = 0.8}} # end the run where a limit is passed; needs monitor = "locality"
# monitor = "locality"
# dtype = "bfloat16"        # auto if left out: bfloat16 where the machine computes it
# device_map = "stream"     # for a model that does not fit into memory
seed = 0

[options]
# Options of the editor; `ultraedit editors show {editor_name}` explains them.
# written = 0.15            # smaller writes more and disturbs more
# anchors = "questions.txt" # questions of your own, whose answers are held in place
"""


def init(
    model: ProjectModel,
    facts: Facts,
    columns: o.Columns = None,
    out: Project = Path("project.toml"),
    json_: o.Json = False,
) -> None:
    r"""Write a file of settings with comments for a model and a file of facts.

    Examples:
      ultraedit init --model smollm2 --facts facts.csv
      ultraedit init --model ./my-model --facts facts.jsonl --out my.toml

    The facts are read to their end, so that a mistake in them is known now. Nothing else is done:
    the command that starts the run is printed.
    """
    from ultraedit.core.files import refuse_existing, write_text
    from ultraedit.data import parse_spec, stream
    from ultraedit.report import format_count

    refuse_existing(out)
    spec = parse_spec(with_columns(facts, columns) or facts)
    show_first_rows(str(spec), ask=False)
    count = sum(1 for _ in stream(spec))
    text = TEMPLATE.format(
        file=out,
        model=_quoted(model),
        data=_quoted(str(spec)),
        count=format_count(count, "fact"),
        editor=_quoted(DEFAULT_EDITOR),
        editor_name=DEFAULT_EDITOR,
    )
    write_text(out, text)
    following = f"ultraedit run --config {out} --out edited"
    if json_:
        _output.write_json({"file": str(out), "facts": count, "next": following})
        return
    _output.line(f"{out} is written, for {format_count(count, 'fact')}.")
    _output.line(f"Try next: {following}")


def _quoted(text: str) -> str:
    """A string of TOML, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)

"""``ultraedit export``: a run's edits in one of the forms of `ultraedit.export.registry`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.core.settings import OUTPUT
from ultraedit.export.registry import FORMATS

FORMS = tuple(FORMATS)


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(
        name,
        metavar=metavar,
        help=text,
        rich_help_panel=OUTPUT,
        show_envvar=False,
        show_default=False,
    )


Form = Annotated[
    str | None,
    _option(
        "--as",
        "|".join(FORMS),
        f"{'; '.join(f'{each.name}: {each.summary}' for each in FORMATS.values())}. Must be given.",
    ),
]
Out = Annotated[
    Path | None,
    _option(
        "--out",
        "PATH",
        f"File of a {' or '.join(each.name for each in FORMATS.values() if each.suffix)}, or "
        "folder of anything else; new. Must be given.",
    ),
]
ShardSize = Annotated[
    str | None,
    _option(
        "--shard-size",
        "SIZE",
        "For delta: a larger one is written as several files of at most this size, with an index; "
        "KB, MB, GB or TB. [default: 5GB]",
    ),
]
Type = Annotated[
    str | None,
    _option(
        "--type",
        "f16|q8_0|bf16|f32|same",
        "For gguf: how the edited tensors are stored; all others keep their bytes. same takes the "
        "base file's type. [default: f16]",
    ),
]
Base = Annotated[
    Path | None,
    _option(
        "--base",
        "FILE",
        "For gguf files: the GGUF file of the base model. [default: the one that the run was made "
        "on]",
    ),
]
Yes = Annotated[
    bool | None,
    _option(
        "--yes",
        "",
        "For gguf: write --type same also where that type loses a part of the change.",
    ),
]
Layout = Annotated[
    str | None,
    _option(
        "--format",
        "peft|gguf",
        "For lora: a PEFT folder, or one file for llama.cpp. [default: peft]",
    ),
]
Rank = Annotated[
    str | None,
    _option(
        "--rank",
        "R|auto",
        "For lora: rank in every module; larger keeps more. auto takes the smallest in each that "
        "keeps --energy. [default: auto]",
    ),
]
Energy = Annotated[
    float | None,
    _option(
        "--energy",
        "X",
        "For lora: share of the squared norm of each module's change that --rank auto keeps, at "
        "most 1. [default: 0.99]",
    ),
]
AllLayers = Annotated[
    bool | None,
    _option(
        "--all-layers",
        "",
        "For lora: add zeros for the same modules of all other layers, and for those that are "
        "computed together with them, for servers that want all of them.",
    ),
]
Score = Annotated[
    bool | None,
    _option(
        "--score/--no-score",
        "",
        "For lora: score the edits with the adapter beside the exact change, three evaluations "
        "[default: yes]. For gguf: score the file in llama.cpp beside the run in transformers, "
        "four evaluations [default: no].",
    ),
]


def export(
    folder: o.RunArgument,
    form: Form = None,
    out: Out = None,
    shard_size: ShardSize = None,
    type_: Type = None,
    base: Base = None,
    layout: Layout = None,
    rank: Rank = None,
    energy: Energy = None,
    all_layers: AllLayers = None,
    score: Score = None,
    yes: Yes = None,
    json: o.Json = False,
) -> None:
    r"""Carry the edits of a run away, to share or to serve them.

    Examples:
      ultraedit export demo-run --as gguf --out edited.gguf
      ultraedit export demo-run --as delta --out facts.safetensors
      ultraedit export demo-run --as lora --rank 64 --out adapter

    A model and a delta are exact; a GGUF file rounds the edited tensors to --type; an adapter is
    smaller and keeps the largest part.
    """
    given = {
        "rank": rank,
        "energy": energy,
        "score": score,
        "type": type_,
        "base": base,
        "yes": yes,
        "format": layout,
        "all_layers": all_layers,
        "shard_size": shard_size,
    }
    form, out = _check(form, out, given)
    with progress() as observer:
        observer.stage("Getting ready")
        done = FORMATS[form].load()(folder, out, given | {"form": form}, observer)
    delta = done.delta
    result = {
        "run": str(folder),
        "form": form,
        "out": str(out),
        "model": delta.base,
        "edits": delta.edits,
        "turns": delta.turns,
    }
    if json:
        _output.write_json({**result, **done.facts})
        return
    from ultraedit.report import format_count

    for table in done.tables:
        _output.table(table.columns, table.rows, right=table.right)
        _output.line()
    edits = f"{format_count(delta.edits, 'edit')} in {format_count(delta.turns, 'turn')}"
    _output.pairs({**done.pairs, form: out, "base model": delta.base, "edited": edits})
    if done.commands:
        _output.line()
        for command in done.commands:
            _output.line(f"Run it: {command}")


def _check(form: str | None, out: Path | None, given: Mapping[str, object]) -> tuple[str, Path]:
    """Check what can be checked without the run."""
    if form is None:
        raise ConfigError(f"--as is missing. Give one of {', '.join(FORMS)}.")
    if form not in FORMS:
        raise ConfigError(f"Unknown form {form!r}. {did_you_mean(form, FORMS)}")
    if out is None:
        raise ConfigError("--out is missing. Give the path of what is to be made.")
    check_options(form, given)
    return form, out


def check_options(form: str, given: Mapping[str, object]) -> None:
    """Refuse options that belong to other formats.

    Raises:
        ConfigError: If one is given.
    """
    for name, value in given.items():
        takers = [each.name for each in FORMATS.values() if name in each.options]
        if value is not None and form not in takers:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for --as {' and '.join(takers)}; --as {form} "
                "does not take it. Leave it out."
            )

"""``ultraedit push``: what a run wrote, to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.export.registry import FORMATS, PUSHED

Repository = Annotated[
    str,
    typer.Argument(
        metavar="ORG/NAME",
        help="Repository on the hub; made if there is none.",
        show_default=False,
    ),
]
Form = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="|".join(PUSHED),
        help="What is sent.",
        show_envvar=False,
    ),
]
Private = Annotated[
    bool,
    typer.Option(
        "--private",
        metavar="",
        help="Make the repository private, if it has to be made.",
        show_envvar=False,
    ),
]
Type = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="f16|q8_0|bf16|f32",
        help="For gguf: how the edited tensors are stored. [default: f16]",
        show_envvar=False,
        show_default=False,
    ),
]
Base = Annotated[
    Path | None,
    typer.Option(
        "--base",
        metavar="FILE",
        help="For gguf: the GGUF file of the base model. [default: the one that the run was made "
        "on]",
        show_envvar=False,
        show_default=False,
    ),
]
Rank = Annotated[
    str | None,
    typer.Option(
        "--rank",
        metavar="R|auto",
        help="For lora: rank in every module. [default: auto]",
        show_envvar=False,
        show_default=False,
    ),
]
ShardSize = Annotated[
    str | None,
    typer.Option(
        "--shard-size",
        metavar="SIZE",
        help="For delta: a larger one is sent as several files of at most this size, with an "
        "index; KB, MB, GB or TB. [default: 5GB]",
        show_envvar=False,
        show_default=False,
    ),
]
Dry = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar="",
        help="Export, show what would be sent, and send nothing.",
        show_envvar=False,
    ),
]


def push(
    folder: o.RunArgument,
    repository: Repository,
    form: Form = "model",
    private: Private = False,
    type_: Type = None,
    base: Base = None,
    rank: Rank = None,
    shard_size: ShardSize = None,
    dry_run: Dry = False,
    json: o.Json = False,
) -> None:
    r"""Send the edited model of a run to the Hugging Face Hub, with its card.

    Examples:
      ultraedit push demo-run my-name/my-model --private
      ultraedit push demo-run my-name/my-model-gguf --as gguf --dry-run

    The hub asks for a token: `hf auth login` keeps one, HF_TOKEN gives one. Nothing is scored anew.
    """
    from ultraedit.cli.export import check_options

    given = {"type": type_, "base": base, "rank": rank, "shard_size": shard_size}
    check_options(form, given)
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.export.push import push as send

        options = given | ({"score": False} if "score" in FORMATS[form].options else {})
        sent = send(
            folder,
            repository,
            form=form,
            private=private,
            dry_run=dry_run,
            options=options,
            observer=observer,
        )
    if json:
        _output.write_json(
            {
                "run": str(folder),
                "repository": sent.repository,
                "form": sent.form,
                "files": dict(sent.files),
                "url": sent.url,
            }
        )
        return
    from ultraedit.report import format_bytes

    _output.table(
        ["file", "size"],
        [(name, format_bytes(size)) for name, size in sent.files.items()],
        right=["size"],
    )
    _output.line()
    _output.line(
        f"Sent to {sent.url}" if sent.url else f"Nothing was sent to {repository}: a dry run."
    )

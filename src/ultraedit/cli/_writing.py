"""``ultraedit data enrich`` and ``ultraedit data draft``: facts made complete, and facts made."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _bench_options as b
from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._facts import show_first_rows, with_columns
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ultraedit.core.types import Observer
    from ultraedit.data.enrichment.base import Writer
    from ultraedit.tools.bench_builder.writers.local import LocalWriter
    from ultraedit.tools.bench_builder.writers.openai import OpenAIWriter
    from ultraedit.tools.drafting.document import DraftWriter

REPLIES = ".replies.sqlite"
"""End of the name of the file in which the replies of an endpoint are kept, beside the facts."""

SHOWN = 20
"""Facts without other wordings that are listed; ``--json`` has all."""

Facts = Annotated[str, typer.Argument(metavar="FACTS", help=o.DATA_HELP)]
Document = Annotated[
    Path,
    typer.Argument(metavar="DOCUMENT", help="A .md, .html, .pdf or text file.", show_default=False),
]
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The .jsonl file to write; it must not be there.",
        show_envvar=False,
        show_default=False,
    ),
]
WriterName = Annotated[
    str,
    typer.Option(
        "--writer",
        metavar="NAME",
        help="template: English patterns, needs nothing; local: a model of this package, --model; "
        "openai: an endpoint, --model.",
        show_envvar=False,
    ),
]
DraftWriterName = Annotated[
    str,
    typer.Option(
        "--writer",
        metavar="NAME",
        help="local: a model of this package, --model; openai: an endpoint, --model.",
        show_envvar=False,
    ),
]
Review = Annotated[
    bool,
    typer.Option("--review", help="Open the facts in $EDITOR, to accept, change or drop them."),
]


def enrich(
    facts: Facts,
    out: OutFile = None,
    writer: WriterName = "template",
    model: b.Model = None,
    base_url: b.BaseUrl = None,
    concurrency: b.Concurrency = 8,
    columns: o.Columns = None,
    limit: o.Limit = None,
    review: Review = False,
    yes: b.Yes = False,
    json: o.Json = False,
) -> None:
    r"""Add to facts what they lack: other wordings, subject, control and reverse questions.

    Examples:
      ultraedit data enrich facts.csv --out facts.jsonl
      ultraedit data enrich a.csv --out a.jsonl --writer local --model smollm2

    What a fact has is kept. What is added is made and checked by nobody: look at it, with --review.
    Facts for which the writer has no other words are listed with the reason. The replies of an
    endpoint are kept beside the file, and the same command asks nothing again.
    """
    out = _new_file(out)
    from ultraedit.data import stream
    from ultraedit.data.enrichment import TemplateWriter, to_row
    from ultraedit.data.enrichment import enrich as complete

    data = with_columns(facts, columns) or facts
    edits = list(stream(data, limit=limit))
    show_first_rows(data, ask=False)
    if writer == "openai":
        _confirm(len(edits), _replies(out), yes=yes)
    with progress() as observer:
        chosen: Writer
        if writer == "template":
            if model is not None:
                raise ConfigError(
                    f"--model {model} has no meaning for --writer template. Add --writer openai or "
                    "--writer local, or leave it out."
                )
            chosen = TemplateWriter()
        else:
            chosen = _enriching(
                writer, _endpoint(model, base_url, concurrency, writer), out, observer
            )
        observer.stage("Writing")
        try:
            made = list(complete(edits, chosen))
        finally:
            chosen.close()
    rows = [to_row(each.edit) for each in made]
    kept = _keep(rows, out, review=review)
    added = sum((Counter(each.added) for each in made), Counter[str]())
    without = [(each.edit.id, each.edit.prompt, each.reason) for each in made if each.reason]
    if json:
        _output.write_json(
            {
                "out": str(out),
                "facts": kept,
                "added": dict(added),
                "writer": dict(chosen.describe()),
                "without": [dict(zip(("id", "prompt", "reason"), w, strict=True)) for w in without],
            }
        )
        return
    if without:
        _output.table(
            ["id", "prompt", "why it has no other wordings"],
            without[:SHOWN],
            title=f"{len(without):,} of {len(made):,} facts have fewer than two other wordings",
        )
        _output.line()
    counts = {f"{name} added": f"{added[name]:,}" for name in made[0].added}
    _output.pairs({"facts": f"{kept:,}", **counts, "written to": out})


def draft(
    document: Document,
    out: OutFile = None,
    writer: DraftWriterName = "local",
    model: b.Model = None,
    base_url: b.BaseUrl = None,
    concurrency: b.Concurrency = 8,
    review: Review = False,
    yes: b.Yes = False,
    json: o.Json = False,
) -> None:
    r"""Propose facts out of a document, each with the passage that it rests on.

    Examples:
      ultraedit data draft notes.md --out facts.jsonl --model smollm2
      ultraedit data draft a.pdf --out a.jsonl --writer openai --model NAME

    A fact whose answer is not in its passage is dropped and counted. Check the others against their
    passages, which stand beside them, before they are edited.
    """
    out = _new_file(out)
    from ultraedit.tools.drafting.document import draft as propose
    from ultraedit.tools.drafting.document import read_passages

    passages = read_passages(document)
    if writer == "openai":
        _confirm(len(passages), _replies(out), yes=yes)
    with progress() as observer:
        endpoint = _endpoint(model, base_url, concurrency, writer)
        chosen = _drafting(writer, endpoint, out, observer)
        observer.stage("Reading passages", len(passages))
        drafted = []
        try:
            for each in propose(passages, chosen):
                drafted.append(each)
                observer.advance()
        finally:
            chosen.close()
    facts = [fact for each in drafted for fact in each.facts]
    dropped = sum(each.dropped for each in drafted)
    kept = _keep([fact.to_row() for fact in facts], out, review=review)
    if json:
        _output.write_json(
            {"out": str(out), "passages": len(passages), "facts": kept, "dropped": dropped}
        )
        return
    _output.table(
        ["question", "answer", "passage"],
        [(fact.prompt, fact.target, fact.passage) for fact in facts[:SHOWN]],
        spaced=True,
    )
    _output.line()
    _output.pairs(
        {
            "passages": f"{len(passages):,}",
            "facts": f"{kept:,}",
            "dropped": f"{dropped:,} (no answer from the passage, or a question that needs it)",
            "written to": out if kept else None,
        }
    )


def _new_file(out: Path | None) -> Path:
    """Refuse a file that is there, or that no fact can be read from."""
    if out is None:
        raise ConfigError("--out is missing. Name the file to write, such as --out facts.jsonl.")
    if out.suffix.lower() != ".jsonl":
        raise ConfigError(f"--out must be a .jsonl file, got {out}.")
    if out.exists():
        raise ConfigError(f"{out} is there already. Choose another --out, or move it away.")
    return out


def _keep(rows: list[dict[str, Any]], out: Path, *, review: bool) -> int:
    """Write what the user accepts. Returns how many facts that are."""
    from ultraedit.data.enrichment.rows import write_rows
    from ultraedit.tools.drafting.review import review as look_over

    rows = look_over(rows) if review and rows else rows
    if rows:
        write_rows(out, rows)
    return len(rows)


def _endpoint(model: str | None, base_url: str | None, concurrency: int, writer: str) -> Any:
    from ultraedit.tools.bench_builder.writers.openai import Endpoint

    if writer in ("local", "openai") and not model:
        raise ConfigError(f"--writer {writer} needs a language model. Name it with --model.")
    return Endpoint(model=model or "", base_url=base_url, concurrency=concurrency)


def _enriching(name: str, endpoint: Any, out: Path, observer: Observer) -> Writer:
    from ultraedit.tools.drafting.rephrasing import AskingWriter, CompletingWriter

    if name == "openai":
        return AskingWriter(_client(endpoint, out))
    if name == "local":
        return CompletingWriter(_local(endpoint.model, observer))
    raise ConfigError(
        f"Unknown writer {name!r}. {did_you_mean(name, ('template', 'local', 'openai'))}"
    )


def _drafting(name: str, endpoint: Any, out: Path, observer: Observer) -> DraftWriter:
    from ultraedit.tools.drafting.document import AskingDrafter, CompletingDrafter

    if name == "openai":
        return AskingDrafter(_client(endpoint, out))
    if name == "local":
        return CompletingDrafter(_local(endpoint.model, observer))
    raise ConfigError(f"Unknown writer {name!r}. {did_you_mean(name, ('local', 'openai'))}")


def _client(endpoint: Any, out: Path) -> OpenAIWriter:
    from ultraedit.tools.bench_builder.writers.openai import OpenAIWriter

    return OpenAIWriter(endpoint, _replies(out))


def _replies(out: Path) -> Path:
    """Where the replies to the facts of a file are kept."""
    return out.with_name(f".{out.stem}{REPLIES}")


def _confirm(requests: int, replies: Path, *, yes: bool) -> None:
    """Say how much will be asked of a service that may have to be paid, and ask a user for it."""
    kept = f", but for those whose replies are in {replies}" if replies.exists() else ""
    _output.message(f"At most {requests:,} requests are made{kept}.")
    if requests and not yes and sys.stdin.isatty():
        typer.confirm("Begin?", abort=True, err=True)


def _local(model: str, observer: Observer) -> LocalWriter:
    observer.stage(f"Loading {model}")
    from ultraedit.models import load
    from ultraedit.tools.bench_builder.writers.local import LocalWriter

    return LocalWriter(load(model))

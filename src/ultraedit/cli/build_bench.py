"""``ultraedit build-bench``: a set of editing pairs from triples of a knowledge base."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ultraedit.cli import _bench_options as b
from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import paused, progress
from ultraedit.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ultraedit.core.types import Observer
    from ultraedit.tools.bench_builder import Built, Estimate, QuestionWriter
    from ultraedit.tools.bench_builder.writers.openai import Endpoint

WRITERS = ("template", "openai", "local")


def build_bench(
    triples: b.Triples,
    out: b.Out = None,
    size: b.Size = None,
    seed: b.Seed = 0,
    writer: b.WriterName = "template",
    patterns: b.Patterns = None,
    language: b.Language = "en",
    license: b.License = None,
    sample: b.Sample = 0,
    model: b.Model = None,
    base_url: b.BaseUrl = None,
    concurrency: b.Concurrency = 8,
    timeout: b.Timeout = 60.0,
    attempts: b.Attempts = 6,
    price_in: b.PriceIn = None,
    price_out: b.PriceOut = None,
    yes: b.Yes = False,
    dtype: o.Dtype = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Build a set of editing pairs, like UltraEditBench, from triples.

    Examples:
      ultraedit build-bench facts.tsv --out bench --size 20000 --sample 50
      ultraedit build-bench wikidata5m/ --out bench --writer openai --model NAME

    The folder gets ultraeditbench.jsonl, the same as one array in ultraeditbench.json, splits/,
    rejected.jsonl with the reason for each, and a data card in README.md and card.json. The key of
    an endpoint is read from OPENAI_API_KEY alone; its replies stay in replies.sqlite, and the same
    command goes on after an interruption without asking again. docs/ultraeditbench.md says more.
    """
    from ultraedit.tools.bench_builder import BuildSettings, build
    from ultraedit.tools.bench_builder.settings import UNSTATED
    from ultraedit.tools.bench_builder.writers.openai import Endpoint

    if out is None:
        raise ConfigError("--out is missing. Give it a folder for the set, such as --out bench.")
    settings = BuildSettings(
        triples=tuple(triples),
        out=out,
        size=size,
        seed=seed,
        language=language,
        license=UNSTATED if license is None else license,
        patterns=patterns,
        sample=sample,
    )
    endpoint = Endpoint(
        model=model or "",
        base_url=base_url,
        concurrency=concurrency,
        timeout=timeout,
        attempts=attempts,
        price_in=price_in,
        price_out=price_out,
    )
    began = time.perf_counter()
    with progress() as observer:
        chosen = _writer(writer, endpoint, out, (dtype or "auto", device or "auto"), observer)
        try:
            built = build(
                settings,
                chosen,
                confirm=lambda cost: _confirm(cost, yes, observer),
                observer=observer,
            )
        finally:
            chosen.close()
    if json:
        _output.write_json({"out": str(out), **built.card, "sample": built.sample})
    else:
        _show(built, out, size, time.perf_counter() - began)
        _show_use(chosen)


def _writer(
    name: str, endpoint: Endpoint, out: Path, machine: tuple[str, str], observer: Observer
) -> QuestionWriter:
    """Make the writer of a name, refusing what it cannot work with."""
    from ultraedit.tools.bench_builder import TemplateQuestionWriter
    from ultraedit.tools.bench_builder.output import REPLIES

    if name not in WRITERS:
        raise ConfigError(f"Unknown writer {name!r}. {did_you_mean(name, WRITERS)}")
    if name == "template":
        if endpoint.model:
            raise ConfigError(
                f"--model {endpoint.model} has no meaning for --writer template. Add --writer "
                f"openai or --writer local, or leave it out."
            )
        return TemplateQuestionWriter()
    if not endpoint.model:
        raise ConfigError(f"--writer {name} needs a language model. Name it with --model.")
    if name == "openai":
        from ultraedit.tools.bench_builder.writers.openai import OpenAIWriter

        return OpenAIWriter(endpoint, out / REPLIES)
    from ultraedit.models import load
    from ultraedit.tools.bench_builder.writers.local import LocalWriter

    observer.stage(f"Loading {endpoint.model}")
    dtype, device = machine
    return LocalWriter(load(endpoint.model, dtype=dtype, device=device))


def _confirm(cost: Estimate, yes: bool, observer: Observer) -> None:
    """Say what a build costs and, where there is somebody to ask, ask whether to begin."""
    price = "its price is unknown (--price-in, --price-out)"
    if cost.cost is not None:
        price = f"at most about {cost.cost:,.2f} in the currency of the prices"
    _output.message(
        f"{cost.requests:,} requests with about {cost.input_tokens:,} tokens asked and "
        f"{cost.output_tokens:,} replied, {price}; {cost.answered:,} replies are there already."
    )
    if yes or not cost.requests or not _is_terminal():
        return
    with paused(observer):
        typer.confirm("Begin?", abort=True, err=True)


def _is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def _show(built: Built, out: Path, size: int | None, seconds: float) -> None:
    """Print the sample, what was kept and left out, and where the set is."""
    counts = built.card["counts"]
    if built.sample:
        title = f"{len(built.sample)} random rows of {counts['kept']:,}"
        _output.table(
            ["", "asked as", "question", "answer"],
            _sample_lines(built.sample),
            title=title,
            whole=["asked as"],
        )
    if built.card["rejected"]:
        rejected = [(reason, f"{n:,}") for reason, n in built.card["rejected"].items()]
        _output.table(["rejected", "rows"], rejected, right=["rows"])
        _output.line()
    facts = {name.replace("_", " "): f"{count:,}" for name, count in counts.items()}
    _output.pairs({**facts, "seconds": f"{seconds:.1f}", "set": out})
    if size is not None and counts["kept"] < size:
        _output.message(
            f"{counts['kept']:,} rows instead of {size:,}: the triples give no more. Add files of "
            f"triples, or see {out}/rejected.jsonl for what was left out."
        )


def _sample_lines(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, ...]]:
    """The three questions of each row below each other, and an empty line."""
    for number, row in enumerate(rows, 1):
        yield str(number), "edit", row["prompt"], row["ans"]
        yield "", "equivalent", row["rephrase_prompt"], ""
        yield "", "unrelated", row["loc"], row["loc_ans"]
        yield ("",) * 4


def _show_use(writer: QuestionWriter) -> None:
    """Say what a paid writer has used in this build."""
    from ultraedit.tools.bench_builder.writers.openai import OpenAIWriter

    if isinstance(writer, OpenAIWriter):
        cost = writer.cost(writer.input_tokens, writer.output_tokens)
        used = f"{writer.input_tokens:,} tokens asked, {writer.output_tokens:,} replied"
        _output.message(f"Used: {used}" + ("." if cost is None else f", {cost:,.2f}."))

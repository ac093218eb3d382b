"""``ultraedit stats``: second moments of the layers' inputs, computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._help import add, group
from ultraedit.cli._progress import progress
from ultraedit.cli._settings import FIELDS
from ultraedit.core.errors import ConfigError
from ultraedit.lifelong.settings import CORPUS_HELP

if TYPE_CHECKING:
    from torch import nn

    from ultraedit.host.second_moments import CachedMoment
    from ultraedit.models import LanguageModel

app = group(
    """Compute, import and list the second moments that some editors need.

    Examples:
      ultraedit stats compute --model smollm2 --corpus wikipedia.jsonl.gz
      ultraedit stats list

    A second moment says what the inputs of a layer are like over ordinary text, so that an edit
    can leave them alone. `ultraedit run --corpus FILE` computes what it needs by itself and
    keeps it; these commands do so ahead of it.
    """
)

Of = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help=o.MODEL_HELP, show_envvar=False),
]
Corpus = Annotated[
    str, typer.Option("--corpus", metavar="CORPUS", help=CORPUS_HELP, show_envvar=False)
]
Modules = Annotated[
    str | None,
    typer.Option(
        "--modules",
        metavar="PATTERNS",
        help="Linear layers to measure, such as 'layers.[4-8].mlp.down_proj'. "
        "\\[default: those of the editor's preset]",
        show_envvar=False,
    ),
]
ForEditor = Annotated[
    str | None,
    typer.Option(
        "--editor",
        metavar="NAME",
        help="Editor whose preset names the modules. \\[default: ultraedit]",
        show_envvar=False,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        metavar="N",
        help=f"{FIELDS['corpus_samples'].description} \\[default: 1000]",
        min=1,
        show_envvar=False,
        show_default=False,
    ),
]
Source = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="An .npz file as ROME writes it, or a folder of them."),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="An id from `ultraedit stats list`.")]


def compute(
    model: Of,
    corpus: Corpus,
    modules: Modules = None,
    editor: ForEditor = None,
    samples: Samples = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Compute second moments over a corpus, or go on where an earlier call was stopped.

    Examples:
      ultraedit stats compute --model smollm2 --corpus wikipedia.jsonl.gz
      ultraedit stats compute --model ./my-model --corpus wiki.txt --editor ft-m

    The passages are those with the smallest hashes, so a larger sample contains a smaller one.
    """
    import time

    from ultraedit.host.second_moments import SAMPLES, OfCorpus, check_corpus, provider

    with progress() as observer:
        observer.stage("Getting ready")
        check_corpus(corpus)
        statistics = provider(corpus, samples or SAMPLES, observer=observer)
        if not isinstance(statistics, OfCorpus):
            raise ConfigError(
                f"{corpus!r} is no corpus to compute from. Give a file or a data set."
            )
        loaded = _load(model, dtype, device, observer)
        wanted = _modules(loaded, modules, editor)
        start = time.perf_counter()
        moments = list(statistics.entries(loaded, wanted).values())
        seconds = time.perf_counter() - start
    _show(moments, json, seconds=seconds)


def import_files(path: Source, model: Of, json: o.Json = False) -> None:
    r"""Import second moments that were computed elsewhere, for `--corpus imported`.

    Examples:
      ultraedit stats import gpt-j-6b/wikipedia_stats --model EleutherAI/gpt-j-6b
      ultraedit stats import ./wikipedia_stats --model ./my-model --json

    The files are named after their modules. Each is compared with what the model does on a few
    hundred tokens, and refused if it is of another model or module. Nothing is unpickled.
    """
    from ultraedit.host.second_moments import import_moments

    with progress() as observer:
        loaded = _load(model, None, None, observer)
        moments = import_moments(path, loaded, observer)
    _show(moments, json)


def list_all(json: o.Json = False) -> None:
    r"""List the second moments that are kept.

    Examples:
      ultraedit stats list
      ultraedit stats list --json
    """
    from ultraedit.host.second_moments import entries

    _show(list(entries()), json)


def show(id: Id, json: o.Json = False) -> None:
    r"""Show what a second moment is of, and how much it still changed as its sample grew.

    Examples:
      ultraedit stats show 3f9a2c1b
      ultraedit stats show 3f9a --json

    The rank for a share of the trace is the number of directions that hold so much of the inputs'
    mean square: the smaller, the more room there is for edits that ordinary text does not notice.
    """
    import torch

    from ultraedit.host.second_moments import find_entry

    entry = find_entry(id)
    values = torch.linalg.eigvalsh(entry.load().moment.double()).flip(0).clamp(min=0)
    shares = values.cumsum(0) / values.sum()
    ranks = {share: int((shares < share).sum()) + 1 for share in (0.5, 0.9, 0.99)}
    if json:
        facts = _facts(entry) | {"largest_eigenvalue": float(values[0]), "ranks": ranks}
        _output.write_json(facts | {"trace": float(values.sum()), "file": str(entry.file)})
        return
    _output.pairs(
        {
            "id": entry.id,
            "model": entry.model,
            "weights": entry.fingerprint,
            "module": entry.module,
            "corpus": entry.source,
            "tokens": f"{entry.tokens:,}",
            "inputs": entry.d_in,
            "trace": f"{float(values.sum()):.4g}",
            "largest eigenvalue": f"{float(values[0]):.4g}",
            "rank": ", ".join(f"{rank} for {share:.0%}" for share, rank in ranks.items()),
            "made": entry.made,
            "file": entry.file,
        }
    )
    if entry.doublings:
        _output.line()
        _output.table(
            ["samples", "change since half of them"],
            [(f"{size:,}", f"{change:.1%}") for size, change in entry.doublings],
            title="Convergence",
            right=["samples", "change since half of them"],
        )


def _load(model: str, dtype: str | None, device: str | None, observer: Any) -> LanguageModel:
    observer.stage(f"Loading {model}")
    from ultraedit.models import load

    return load(model, dtype=dtype or "auto", device=device or "auto")


def _modules(
    loaded: LanguageModel, patterns: str | None, editor: str | None
) -> dict[str, nn.Module]:
    """The modules that the user named, or those of the preset."""
    from ultraedit.editors import find_editor
    from ultraedit.models import find_modules, find_preset

    name = find_editor(editor).name if editor is not None else None
    chosen = [patterns] if patterns else find_preset(loaded, None, name).modules
    return find_modules(loaded.model, chosen, name=loaded.name)


def _show(moments: Sequence[CachedMoment], json: bool, *, seconds: float | None = None) -> None:
    if json:
        rows = [_facts(entry) for entry in moments]
        _output.write_json(rows if seconds is None else {"seconds": seconds, "moments": rows})
        return
    _output.table(
        ["id", "model", "module", "corpus", "tokens", "last change"],
        [
            (
                entry.id,
                entry.model,
                entry.module,
                entry.source,
                f"{entry.tokens:,}",
                f"{entry.doublings[-1][1]:.1%}" if entry.doublings else None,
            )
            for entry in moments
        ],
        right=["tokens", "last change"],
        whole=["id"],
    )
    if seconds is not None:
        from ultraedit.report import format_seconds

        _output.line()
        _output.line(f"In {format_seconds(seconds)}.")


def _facts(entry: CachedMoment) -> dict[str, Any]:
    facts = {name: value for name, value in vars(entry).items() if name != "file"}
    return {"id": entry.id} | facts


add(app, "compute", compute)
add(app, "import", import_files)
add(app, "list", list_all)
add(app, "show", show)

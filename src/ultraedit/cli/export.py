"""``ultraedit export``: a run's edits as a model, a delta, a PEFT adapter, memories or facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ultraedit.runs.export import Adapter

FORMS = ("model", "delta", "lora", "wise", "in-context")

Form = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="|".join(FORMS),
        help="A whole model, its change alone as one file, or a PEFT adapter; for runs of wise and "
        "in-context, which change no weights, a model with its memories or facts. Must be given.",
        rich_help_panel=o.RESULT,
        show_envvar=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="File of the delta, or folder of anything else; new. Must be given.",
        rich_help_panel=o.RESULT,
        show_envvar=False,
    ),
]
Rank = Annotated[
    str | None,
    typer.Option(
        "--rank",
        metavar="R|auto",
        help="Rank of the adapter in every module; larger keeps more. auto, unless given, takes "
        "the smallest in each that keeps --energy.",
        rich_help_panel=o.RESULT,
        show_envvar=False,
    ),
]
Energy = Annotated[
    float | None,
    typer.Option(
        "--energy",
        metavar="X",
        help="Share of the squared norm of each module's change that --rank auto keeps, at most 1; "
        "0.99 unless given.",
        rich_help_panel=o.RESULT,
        show_envvar=False,
    ),
]
Score = Annotated[
    bool | None,
    typer.Option(
        "--score/--no-score",
        metavar="",
        help="Score the edits with the adapter beside the exact change, which takes three "
        "evaluations; done unless --no-score is given.",
        rich_help_panel=o.RESULT,
        show_envvar=False,
        show_default=False,
    ),
]


def export(
    folder: o.RunArgument,
    form: Form = None,
    out: Out = None,
    rank: Rank = None,
    energy: Energy = None,
    score: Score = None,
    json: o.Json = False,
) -> None:
    r"""Carry the edits of a run away, to share or to serve them.

    Examples:
      ultraedit export demo-run --as delta --out facts.safetensors
      ultraedit export demo-run --as lora --rank 64 --out adapter

    A model and a delta are exact; an adapter is smaller and keeps the largest part.
    """
    form, out = _check(form, out, {"--rank": rank, "--energy": energy, "--score": score})
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.runs.export import export_beside, export_delta, export_lora, export_model
        from ultraedit.store.lora import KEPT

        adapter = None
        if form == "model":
            delta = export_model(folder, out, observer)
        elif form == "delta":
            delta = export_delta(folder, out, observer)
        elif form in ("wise", "in-context"):
            delta = export_beside(folder, out, form, observer)
        else:
            delta, adapter = export_lora(
                folder,
                out,
                rank=_rank(rank),
                kept=KEPT if energy is None else energy,
                score=score is not False,
                observer=observer,
            )
    result = {
        "run": str(folder),
        "form": form,
        "out": str(out),
        "model": delta.base,
        "edits": delta.edits,
        "turns": delta.turns,
    }
    facts = {} if adapter is None else _facts(adapter)
    if json:
        _output.write_json(result | facts)
        return
    from ultraedit.report import format_count

    if adapter is not None:
        _show(facts)
    edits = f"{format_count(delta.edits, 'edit')} in {format_count(delta.turns, 'turn')}"
    _output.pairs({form: out, "base model": delta.base, "edited": edits})


def _check(form: str | None, out: Path | None, lora: dict[str, object]) -> tuple[str, Path]:
    """Check what can be checked without the run."""
    if form is None:
        raise ConfigError(f"--as is missing. Give one of {', '.join(FORMS)}.")
    if form not in FORMS:
        raise ConfigError(f"Unknown form {form!r}. {did_you_mean(form, FORMS)}")
    if out is None:
        raise ConfigError("--out is missing. Give the path of what is to be made.")
    given = [name for name, value in lora.items() if value is not None]
    if form != "lora" and given:
        raise ConfigError(f"{given[0]} is for --as lora; --as {form} is exact. Leave it out.")
    return form, out


def _rank(text: str | None) -> int | Literal["auto"]:
    if text is None or text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--rank must be auto or a whole number from 1, got {text!r}.")
    return int(text)


def _facts(adapter: Adapter) -> dict[str, Any]:
    from dataclasses import asdict

    from ultraedit.store.lora import size_bytes

    return {
        "bytes": size_bytes(adapter.modules),
        "modules": {
            path: {
                "rank": module.rank,
                "exact_rank": module.exact_rank,
                "energy": module.energy,
            }
            for path, module in adapter.modules.items()
        },
        "exact": None if adapter.exact is None else asdict(adapter.exact),
        "adapter": None if adapter.adapted is None else asdict(adapter.adapted),
    }


def _show(facts: dict[str, Any]) -> None:
    from ultraedit.report import format_bytes, format_percent
    from ultraedit.report.labels import short_names

    names = short_names(list(facts["modules"]))
    _output.table(
        ["module", "rank", "exact rank", "energy kept"],
        [
            (name, each["rank"], each["exact_rank"], f"{100 * each['energy']:.2f}%")
            for name, each in zip(names, facts["modules"].values(), strict=True)
        ],
        right=["rank", "exact rank", "energy kept"],
    )
    _output.line()
    if facts["exact"] is not None:
        from ultraedit.report.formats import format_change
        from ultraedit.report.scores import METRICS

        rows = [(name, facts["exact"][name], facts["adapter"][name]) for name in METRICS]
        _output.table(
            ["metric", "exact", "adapter", "change"],
            [
                (name, format_percent(exact), format_percent(ours), format_change(exact, ours))
                for name, exact, ours in rows
                if exact is not None
            ],
            right=["exact", "adapter", "change"],
        )
        _output.line()
    _output.pairs({"size": format_bytes(facts["bytes"])})

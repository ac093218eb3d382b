"""``ultraedit doctor``: whether a model can be edited, what is special in it, what comes next."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FORMAT:PATH",
        help="Facts for the command that is proposed. \\[default: the demo's]",
        show_envvar=False,
    ),
]


def doctor(
    model: o.ModelArgument,
    modules: o.Modules = None,
    data: Data = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Examine a model: what can be edited, its tokenizer, memory, and one edit as a test.

    Examples:
      ultraedit doctor smollm2
      ultraedit doctor ./my-model --data zsre:zsre_10k.json --json

    The edit is taken back, and nothing is written. Ends with exit code 2 if the model cannot be
    edited.
    """
    with progress() as observer:
        observer.stage(f"Reading {model}")
        from ultraedit.tools.doctor import examine

        examined = examine(model, observer, modules=modules, data=data, dtype=dtype, device=device)
    if json:
        _output.write_json(examined)
    else:
        _show(examined)
    if not examined["verdict"]["editable"]:
        raise ConfigError(examined["verdict"]["sentence"])


def _show(report: dict[str, Any]) -> None:
    from ultraedit.cli import plan
    from ultraedit.report import format_bytes

    _output.pairs({k.replace("_", " "): v for k, v in report["model"].items()})
    _output.line()
    _show_places(report["modules"])
    _output.line()
    if report["preset"] is not None:
        preset = report["preset"] | {"modules": ", ".join(report["preset"]["modules"])}
        _output.pairs(
            {"quantised": report["quantised"]} | {f"preset {k}": preset[k] for k in preset}
        )
        _output.line()
    _output.table(
        ["tokenizer", "", ""],
        [
            (each["about"], each["found"], _output.CROSS if each["trouble"] else _output.TICK)
            for each in report["tokenizer"]
        ],
    )
    _output.line()
    dtypes = report["dtypes"]
    _output.pairs(
        {
            "precision": f"stored in {dtypes['stored']}, loaded in {dtypes['auto']} by default",
            **{name: dtypes[name] for name in ("float32", "bfloat16", "float16")},
        }
    )
    if report["plan"] is not None:
        _output.line()
        plan.show(report["plan"])
        free = report["free_bytes"]
        _output.pairs({"free here": None if free is None else format_bytes(free)})
    _output.line()
    _show_verdict(report)


def _show_places(places: list[dict[str, Any]]) -> None:
    _output.table(
        ["modules", "inputs", "outputs", "type", "editable"],
        [
            (
                each["pattern"],
                each["d_in"],
                each["d_out"],
                each["type"],
                "yes" if each["obstacle"] is None else "no",
            )
            for each in places
        ],
        right=["inputs", "outputs"],
        whole=["modules"],
    )
    special = {
        each["pattern"]: "; ".join(filter(None, (*each["traits"], each["obstacle"])))
        for each in places
        if each["traits"] or each["obstacle"]
    }
    if special:
        _output.line()
        _output.pairs(special)


def _show_verdict(report: dict[str, Any]) -> None:
    from ultraedit.report import format_number, format_seconds

    edit, verdict = report["edit"], report["verdict"]
    if edit is not None and edit["loss_before"] is not None:
        _output.pairs(
            {
                "one edit": f"loss {format_number(edit['loss_before'])} to "
                f"{format_number(edit['loss_after'])} in {format_seconds(edit['seconds'])}, "
                "taken back",
                "frozen trunk": "works: tune and --trunk are quick" if edit["trunk"] else "no",
            }
        )
    for note in verdict["notes"]:
        _output.line(f"Note: {note}")
    if verdict["editable"]:
        _output.line(verdict["sentence"])
    _output.line(f"Try next: {verdict['command']}")

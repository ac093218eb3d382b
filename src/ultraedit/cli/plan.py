"""``ultraedit plan``: what editing a model would take, from its config alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="What --model of run takes, a folder with a config.json alone, or the config.json.",
    ),
]
EditsPerTurn = Annotated[
    int, typer.Option("--edits-per-turn", min=1, metavar="N", help="Edits applied together.")
]
Tokens = Annotated[
    int,
    typer.Option("--tokens", min=1, metavar="N", help="Mean tokens of a prompt with its answer."),
]
AnswerTokens = Annotated[
    int, typer.Option("--answer-tokens", min=1, metavar="N", help="Mean tokens of an answer.")
]


def plan(
    model: Model,
    editor: o.Editor = None,
    modules: o.Modules = None,
    edits_per_turn: EditsPerTurn = 100,
    tokens: Tokens = 16,
    answer_tokens: AnswerTokens = 4,
    dtype: o.Dtype = None,
    device: o.Device = None,
    device_map: o.DeviceMap = None,
    json: o.Json = False,
) -> None:
    r"""Predict memory and time of a turn of UltraEdit, and the graphics cards it fits on.

    Examples:
      ultraedit plan smollm2
      ultraedit plan mistralai/Mistral-7B-v0.3 --edits-per-turn 500
      ultraedit plan ./mistral/config.json --device-map stream

    Reads the config of the model and none of its weights. The time is that of this machine. For
    another editor the same figures are printed, and beside them the large tensors that it keeps.
    """
    if answer_tokens > tokens:
        raise ConfigError(
            f"--answer-tokens must be at most --tokens, got {answer_tokens} and {tokens}."
        )
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit import models
        from ultraedit.editors import base_of, find_editor, make_editor
        from ultraedit.models import choose_preset
        from ultraedit.models.hardware import choose_device, choose_dtype
        from ultraedit.tools.plan.estimate import Workload
        from ultraedit.tools.plan.prediction import predict

        where = choose_device(device or "auto")
        precision = choose_dtype(dtype or "auto", where)
        config = models.load_config(model)
        chosen = None if modules is None else tuple(models.split_patterns(modules))
        method = make_editor(editor or "ultraedit", {})
        named = base_of(find_editor(editor or "ultraedit").name, {}) or editor
        patterns = choose_preset(config, None, chosen, named).modules if chosen is None else chosen
        workload = Workload(edits_per_turn, tokens, answer_tokens)
        observer.stage("Planning")
        planned = predict(
            config,
            patterns,
            workload,
            precision,
            where,
            editor=method,
            device_map=_device_map(device_map),
            name=model,
        )
    facts = {"model": model, "modules": list(patterns), **workload._asdict(), **planned}
    if json:
        _output.write_json(facts)
        return
    _output.pairs(
        {
            "model": f"{model} in {planned['dtype']} on {planned['device']}",
            "modules": ", ".join(patterns),
            "a turn": f"{edits_per_turn:,} edits of {tokens} tokens, {answer_tokens} answering",
        }
    )
    _output.line()
    show(planned)


def show(planned: dict[str, Any]) -> None:
    """Print what `predict` found."""
    from ultraedit.report import format_bytes, format_number, format_seconds

    size = {key: format_bytes(value) for key, value in planned["memory"].items()}
    streams = planned["device_map"] == "stream"
    states = f"hidden states {size['states']}, " if streams else ""
    reading = f", and reads {size['streamed']} of layers from their file" if streams else ""
    _output.pairs(
        {
            "planned for": _planned_for(planned),
            "parameters": f"{planned['parameters']:,}, {planned['edited_parameters']:,} of them "
            "edited",
            "peak memory": f"{format_bytes(planned['peak_bytes'])} on {planned['device']}: "
            f"{size['loading']} while loading, {size['editing']} while editing",
            "of which": f"weights {size['weights']}, {states}copies {size['copies']}, "
            f"keys and gradients {size['rows']}, a batch {size['batch']}, "
            f"solving {size['solve']}, a snapshot {size['saving']}, programs {size['runtime']}",
            "a turn takes": f"about {format_seconds(planned['seconds_per_turn'])}"
            f"{_passes(planned)} "
            f"({format_number(planned['flops_per_turn'] / 1e12)} TFLOP){reading}",
            "graphics cards": _graphics_cards(planned),
        }
    )


def _passes(planned: dict[str, Any]) -> str:
    """That the time is that of a pass, if there may be several."""
    most = planned["passes"]
    return "" if most == 1 else f" for each of at most {most} passes"


def _planned_for(planned: dict[str, Any]) -> str:
    """The editor that the figures are for, and what another one keeps besides."""
    from ultraedit.report import format_bytes

    name, kept = planned["editor"], planned["kept_beyond"]
    more = ", ".join(f"{what} {format_bytes(size)}" for what, size in kept.items())
    besides = f" It keeps besides: {more}." if more else ""
    if name == planned["planned_for"]:
        return f"{name}.{besides}" if more else str(name)
    return f"{planned['planned_for']}; {name} takes other time, and memory of its own.{besides}"


def _graphics_cards(planned: dict[str, Any]) -> str:
    from ultraedit.report import format_bytes

    if planned["device_map"] == "auto":
        counts = [f"{n} of {size}" for size, n in planned["cards"].items() if n is not None]
        return f"spread evenly: fits {', '.join(counts) if counts else 'none of 8 to 80 GB'}"
    fits = [size for size, there in planned["fits"].items() if there]
    peak = format_bytes(planned["card_peak_bytes"])
    return f"{peak} on a card: fits {', '.join(fits) if fits else 'none of 8 to 80 GB'}"


def _device_map(name: str | None) -> str | None:
    """Check ``--device-map``.

    Raises:
        ConfigError: If it is another word.
    """
    if name not in (None, "auto", "stream"):
        raise ConfigError(f"device-map must be 'auto' or 'stream', got {name!r}.")
    return name

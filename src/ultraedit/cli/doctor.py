"""``ultraedit doctor``: whether a model can be edited, what is special in it, what comes next."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.core.types import Observer
    from ultraedit.models import Preset
    from ultraedit.tools.doctor import TokenFact

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
        found = examine(model, observer, modules=modules, data=data, dtype=dtype, device=device)
    if json:
        _output.write_json(found)
    else:
        _show(found)
    if not found["verdict"]["editable"]:
        raise ConfigError(found["verdict"]["sentence"])


def examine(
    name: str,
    observer: Observer,
    *,
    modules: str | None = None,
    data: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Find out all that ``doctor`` says.

    Raises:
        ConfigError: If there is no such model.
    """
    observer.stage(f"Reading {name}")
    from ultraedit import models
    from ultraedit.models.hardware import choose_device, choose_dtype, free_bytes
    from ultraedit.models.inventory import inventory, quantisation
    from ultraedit.models.quantized import quantized_fault
    from ultraedit.tools import doctor as doctors

    config = models.load_config(name)
    where = choose_device(device or "auto")
    precision = choose_dtype(dtype or "auto", where)
    places = inventory(models.empty_model(config))
    preset, cause = _preset(config, modules)
    fault = quantized_fault(config)
    possible = preset is not None and fault is None
    planned = None
    if preset is not None and possible:
        try:
            planned = _plan(config, preset, precision, where, name)
        except ConfigError as error:
            cause = str(error)  # the edit says more, where it can be tried
    room = free_bytes(where)
    peak = 0 if planned is None else planned["peak_bytes"]
    tokens, smoke = _tokens(config, name), None
    if preset is not None and possible and (room is None or peak <= room):
        observer.stage(f"Loading {name}")
        try:
            loaded = models.load(name, dtype=dtype or "auto", device=device or "auto")
        except ConfigError as error:
            cause = str(error)
        else:
            places = inventory(loaded.model)
            observer.stage("Trying one edit")
            smoke = doctors.smoke_test(loaded, preset.modules)
    verdict = doctors.judge(
        name,
        smoke,
        tokens,
        preset=None if preset is None else preset.name,
        measured=preset is not None and preset.measured,
        peak=peak,
        room=room,
        data=data,
        cause=fault or cause,
    )
    return {
        "model": _model_facts(config, name),
        "modules": [place._asdict() for place in places],
        "quantised": quantisation(config),
        "preset": None if preset is None else _preset_facts(preset),
        "tokenizer": [fact._asdict() for fact in tokens],
        "dtypes": _dtypes(config, where),
        "edit": None if smoke is None else asdict(smoke),
        "plan": planned,
        "free_bytes": room,
        "verdict": asdict(verdict),
    }


def _model_facts(config: PretrainedConfig, name: str) -> dict[str, Any]:
    from ultraedit.models import resolve
    from ultraedit.models.language_model import text_config

    text = text_config(config)
    experts = next(
        (
            int(value)
            for key in ("num_local_experts", "num_experts", "n_routed_experts")
            if (value := getattr(text, key, None))
        ),
        None,
    )
    return {
        "name": name,
        "source": resolve(name).origin,
        "architecture": ", ".join(config.architectures or []) or None,
        "family": text.model_type,
        "layers": text.num_hidden_layers,
        "hidden_size": text.hidden_size,
        "experts": experts,
        "context_length": getattr(text, "max_position_embeddings", None),
    }


def _preset(config: PretrainedConfig, modules: str | None) -> tuple[Preset | None, str | None]:
    from ultraedit.lifelong.session import choose_preset
    from ultraedit.models import split_patterns

    chosen = None if modules is None else tuple(split_patterns(modules))
    try:
        preset = choose_preset(config, None, chosen)
    except ConfigError as error:
        return None, str(error)
    if chosen is None:
        return preset, None
    return replace(preset, modules=chosen), None


def _preset_facts(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "modules": list(preset.modules),
        "eta": preset.eta or "auto",
        "from": preset.origin,
    }


def _tokens(config: PretrainedConfig, name: str) -> list[TokenFact]:
    from ultraedit.models import load_tokenizer
    from ultraedit.models.language_model import text_config
    from ultraedit.tools.doctor import TokenFact, examine_tokenizer

    try:
        tokenizer = load_tokenizer(name)
    except ConfigError as error:
        return [TokenFact("tokenizer", str(error), True)]
    return examine_tokenizer(tokenizer, vocabulary=getattr(text_config(config), "vocab_size", None))


def _plan(
    config: PretrainedConfig, preset: Preset, dtype: Any, device: Any, name: str
) -> dict[str, Any]:
    from ultraedit.cli.plan import predict
    from ultraedit.tools.plan.estimate import Workload

    return predict(config, preset.modules, Workload(), dtype, device, name=name)


def _dtypes(config: PretrainedConfig, device: Any) -> dict[str, str]:
    """What each precision is like on this device."""
    from ultraedit.models.hardware import choose_dtype, computes_bfloat16
    from ultraedit.models.language_model import text_config

    stored = getattr(config, "dtype", None) or getattr(text_config(config), "dtype", None)
    chosen = str(choose_dtype("auto", device)).removeprefix("torch.")
    native = "native" if computes_bfloat16(device) else "emulated, and slower than float32"
    return {
        "stored": str(stored).removeprefix("torch.") if stored else "unknown",
        "auto": chosen,
        "float32": "native",
        "bfloat16": native,
        "float16": "refused on a CPU" if device.type == "cpu" else "native; overflows more easily",
    }


def _show(found: dict[str, Any]) -> None:
    from ultraedit.cli import plan
    from ultraedit.report import format_bytes

    _output.pairs({k.replace("_", " "): v for k, v in found["model"].items()})
    _output.line()
    _show_places(found["modules"])
    _output.line()
    if found["preset"] is not None:
        preset = found["preset"] | {"modules": ", ".join(found["preset"]["modules"])}
        _output.pairs(
            {"quantised": found["quantised"]} | {f"preset {k}": preset[k] for k in preset}
        )
        _output.line()
    _output.table(
        ["tokenizer", "", ""],
        [
            (each["about"], each["found"], _output.CROSS if each["trouble"] else _output.TICK)
            for each in found["tokenizer"]
        ],
    )
    _output.line()
    dtypes = found["dtypes"]
    _output.pairs(
        {
            "precision": f"stored in {dtypes['stored']}, loaded in {dtypes['auto']} by default",
            **{name: dtypes[name] for name in ("float32", "bfloat16", "float16")},
        }
    )
    if found["plan"] is not None:
        _output.line()
        plan.show(found["plan"])
        free = found["free_bytes"]
        _output.pairs({"free here": None if free is None else format_bytes(free)})
    _output.line()
    _show_verdict(found)


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


def _show_verdict(found: dict[str, Any]) -> None:
    from ultraedit.report import format_number, format_seconds

    edit, verdict = found["edit"], found["verdict"]
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

"""All that there is to find out about a model before its first edit."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Observer
from ultraedit.models import Preset, choose_preset
from ultraedit.models.hardware import choose_device, choose_dtype, computes_bfloat16, free_bytes
from ultraedit.models.inventory import inventory
from ultraedit.models.language_model import text_config
from ultraedit.models.quantized import quantization, quantized_fault
from ultraedit.tools.doctor.smoke import smoke_test
from ultraedit.tools.doctor.tokens import TokenFact, examine_tokenizer
from ultraedit.tools.doctor.verdict import judge
from ultraedit.tools.plan.estimate import Workload
from ultraedit.tools.plan.prediction import predict

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def examine(
    name: str,
    observer: Observer,
    *,
    modules: str | None = None,
    data: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Find out all that ``ultraedit doctor`` says.

    Args:
        name: What the user calls the model.
        observer: Told of each step.
        modules: Patterns of modules in the place of a preset's.
        data: Facts that the next command should be about, as ``FORMAT:PATH``.
        dtype: Precision. None leaves it to the device.
        device: Where the model is loaded. None chooses.

    Returns:
        Plain values, as ``--json`` prints them.

    Raises:
        ConfigError: If there is no such model.
    """
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
            smoke = smoke_test(loaded, preset.modules)
    verdict = judge(
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
        "quantised": quantization(config),
        "preset": None if preset is None else _preset_facts(preset),
        "tokenizer": [fact._asdict() for fact in tokens],
        "dtypes": _dtypes(config, where),
        "edit": None if smoke is None else asdict(smoke),
        "plan": planned,
        "free_bytes": room,
        "verdict": asdict(verdict),
    }


def _model_facts(config: PretrainedConfig, name: str) -> dict[str, Any]:
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
        "source": models.resolve(name).origin,
        "architecture": ", ".join(config.architectures or []) or None,
        "family": text.model_type,
        "layers": text.num_hidden_layers,
        "hidden_size": text.hidden_size,
        "experts": experts,
        "context_length": getattr(text, "max_position_embeddings", None),
    }


def _preset(config: PretrainedConfig, modules: str | None) -> tuple[Preset | None, str | None]:
    chosen = None if modules is None else tuple(models.split_patterns(modules))
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
    try:
        tokenizer = models.load_tokenizer(name)
    except ConfigError as error:
        return [TokenFact("tokenizer", str(error), True)]
    return examine_tokenizer(tokenizer, vocabulary=getattr(text_config(config), "vocab_size", None))


def _plan(
    config: PretrainedConfig, preset: Preset, dtype: Any, device: Any, name: str
) -> dict[str, Any]:
    return predict(config, preset.modules, Workload(), dtype, device, name=name)


def _dtypes(config: PretrainedConfig, device: Any) -> dict[str, str]:
    """What each precision is like on this device."""
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

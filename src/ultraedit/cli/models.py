"""``ultraedit models``: which models have a short name, and what can be edited in any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._help import add, group
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel, Preset

app = group(
    """List the models with a short name, and see what can be edited in any model.

    Examples:
      ultraedit models list
      ultraedit models show smollm2
    """
)

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="Show the preset for data of this format.",
        show_envvar=False,
    ),
]


def list_all(json: o.Json = False) -> None:
    r"""List the models with a short name, and the presets.

    Examples:
      ultraedit models list
      ultraedit models list --json

    Any other model is named by its folder, its .gguf file or its Hugging Face id.
    """
    from ultraedit.models import list_models, list_presets

    aliases = [
        {
            "name": alias.name,
            "summary": alias.summary,
            "installed": alias.installed,
            "install": alias.install_command,
            "hub_id": alias.hub_id,
        }
        for alias in list_models()
    ]
    presets = [_preset_facts(preset) for preset in list_presets()]
    if json:
        _output.write_json({"aliases": aliases, "presets": presets})
        return
    _output.table(
        ["model", "what it is", "installed", "otherwise from the hub"],
        [
            (each["name"], each["summary"], "yes" if each["installed"] else "no", each["hub_id"])
            for each in aliases
        ],
        title="Short names",
        whole=["model"],
    )
    _output.line()
    _output.table(
        ["preset", "modules", "eta"],
        [(each["name"], "\n".join(each["modules"]), each["eta"]) for each in presets],
        title="Presets",
        whole=["preset"],
    )


def show(name: o.ModelArgument, format: Format = None, json: o.Json = False) -> None:
    r"""Show a model's layers, the linear layers that can be edited, and its preset.

    Examples:
      ultraedit models show smollm2
      ultraedit models show ./my-model --format counterfact --json
    """
    from ultraedit.models import describe_modules, empty_model, find_preset, load_config, resolve
    from ultraedit.models.language_model import text_config
    from ultraedit.models.patterns import format_numbers

    with progress() as observer:
        observer.stage(f"Reading {name}")
        config = load_config(name)
        preset = find_preset(config, format)
        groups = describe_modules(empty_model(config))
    text = text_config(config)
    facts = {
        "name": name,
        "source": resolve(name).origin,
        "family": text.model_type,
        "layers": text.num_hidden_layers,
        "context_length": getattr(text, "max_position_embeddings", None),
    }
    if json:
        modules = [group._asdict() for group in groups]
        _output.write_json(facts | {"modules": modules, "preset": _preset_facts(preset)})
        return
    _output.pairs({key.replace("_", " "): value for key, value in facts.items()})
    _output.line()
    _output.table(
        ["modules", "inputs", "outputs", "type"],
        [
            (f"layers.[{format_numbers(g.layers)}].{g.kind}", g.d_in, g.d_out, g.type)
            for g in groups
        ],
        title="What can be edited",
        right=["inputs", "outputs"],
        whole=["modules"],
    )
    _output.line()
    _output.pairs(
        {
            "preset": preset.name,
            "modules": ", ".join(preset.modules),
            "eta": preset.eta or "auto",
            "ridge": preset.ridge,
            "from": preset.source,
        }
    )


def check(name: o.ModelArgument, json: o.Json = False) -> None:
    r"""Load a model and see whether it can be edited.

    Examples:
      ultraedit models check smollm2
      ultraedit models check ./my-model --json

    Ends with exit code 2 if it cannot.
    """
    from ultraedit.models import find_preset
    from ultraedit.tools.doctor.smoke import logits_fault, modules_fault, signals_fault

    loaded = _load(name)
    preset = find_preset(loaded, None)
    faults = {
        "logits are finite": logits_fault(loaded),
        "modules of the preset are there": modules_fault(loaded, preset.modules),
        "gradients reach them": signals_fault(loaded, preset.modules),
    }
    if json:
        _output.write_json({"name": name, "preset": preset.name, "faults": faults})
    else:
        _output.table(
            ["check", "", "why not"],
            [
                (text, _output.TICK if fault is None else _output.CROSS, fault)
                for text, fault in faults.items()
            ],
        )
    broken = [text for text, fault in faults.items() if fault is not None]
    if broken:
        raise ConfigError(f"{name} cannot be edited: it fails at {', '.join(broken)!r}.")


def _load(name: str) -> LanguageModel:
    with progress() as observer:
        observer.stage(f"Loading {name}")
        from ultraedit.models import load

        return load(name)


def _preset_facts(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "modules": list(preset.modules),
        "eta": preset.eta,
        "ridge": preset.ridge,
        "source": preset.source,
    }


add(app, "list", list_all)
add(app, "show", show)
add(app, "check", check)

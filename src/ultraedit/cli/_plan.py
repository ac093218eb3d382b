"""``--dry-run``: everything that a run would do, found out without writing anything."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.cli import _output
from ultraedit.cli._progress import progress

if TYPE_CHECKING:
    from ultraedit.config import RunConfig
    from ultraedit.models import LanguageModel
    from ultraedit.settings import Settings


def make_plan(config: RunConfig, out: Path) -> dict[str, Any]:
    """Find out what a run would do.

    Raises:
        UltraEditError: If it could not be done, as the run itself would.
    """
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit import models, workflow
        from ultraedit.editors import make_editor
        from ultraedit.models import find_modules
        from ultraedit.models.modules import shape_of
        from ultraedit.settings import resolve
        from ultraedit.store import refuse_taken

        make_editor(config.editor, config.options)
        edits = workflow.read_edits(config)
        refuse_taken(out)
        observer.stage("Loading the model")
        loaded = models.load(config.model, dtype=config.dtype, device=config.device)
        settings = resolve(config, loaded)
        found = find_modules(loaded.model, settings.modules, name=config.model)
        tokens = _answer_tokens(loaded, edits)
    sizes = [len(edits[start : start + config.edits_per_turn]) for start in _starts(config, edits)]
    return {
        "model": config.model,
        "source": loaded.source,
        "dtype": settings.dtype,
        "device": settings.device,
        "data": config.data,
        "edits": len(edits),
        "answer_tokens": tokens,
        "turns": len(sizes),
        "edits_per_turn": config.edits_per_turn,
        "edits_in_last_turn": sizes[-1],
        "editor": config.editor,
        "preset": settings.preset,
        "options": _options(config, settings),
        "modules_from": f"preset {settings.preset}" if config.modules is None else "given",
        "modules": [
            {"path": path, "d_in": shape_of(module).d_in, "d_out": shape_of(module).d_out}
            for path, module in found.items()
        ],
        "out": str(out),
        "model_bytes": _bytes(loaded) if config.save_model else 0,
        "free_bytes": shutil.disk_usage(_existing(out)).free,
    }


def show_plan(plan: dict[str, Any]) -> None:
    """Print a plan."""
    from ultraedit.report import format_bytes, format_count

    last = plan["edits_in_last_turn"]
    short = f", the last of only {last}" if last < plan["edits_per_turn"] else ""
    saved = (
        f"{format_bytes(plan['model_bytes'])} for the model" if plan["model_bytes"] else "little"
    )
    _output.pairs(
        {
            "model": f"{plan['model']} in {plan['dtype']} on {plan['device']}",
            "data": f"{plan['data']}: {format_count(plan['edits'], 'edit')} with "
            f"{format_count(plan['answer_tokens'], 'answer token')}",
            "turns": f"{plan['turns']:,} of {plan['edits_per_turn']:,} edits{short}",
            "out": f"{plan['out']}: takes {saved}, {format_bytes(plan['free_bytes'])} are free",
        }
    )
    _output.line()
    _output.table(
        ["option", "value", "from"],
        [(each["name"], each["value"], each["from"]) for each in plan["options"]],
        title=f"Editor {plan['editor']}",
    )
    _output.line()
    _output.table(
        ["module", "inputs", "outputs"],
        [(each["path"], each["d_in"], each["d_out"]) for each in plan["modules"]],
        title=f"Modules ({plan['modules_from']})",
        right=["inputs", "outputs"],
    )
    _output.line()
    _output.line("Nothing was written. Leave out --dry-run to do it.")


def _starts(config: RunConfig, edits: list[Any]) -> range:
    return range(0, len(edits), config.edits_per_turn)


def _options(config: RunConfig, settings: Settings) -> list[dict[str, Any]]:
    """Every option of the editor, and who decided on it."""
    from ultraedit.editors import find_editor

    # The options of a wrapped editor, base.NAME, stand together in `base_options`.
    given, offered = (
        {"base_options" if name.startswith("base.") else name for name in options}
        for options in (config.options, settings.offered)
    )
    listed = []
    for field in fields(settings.editor):  # type: ignore[arg-type]
        value = getattr(settings.editor, field.name)
        if field.name in given:
            source = "given"
        elif field.name in offered:
            source = f"preset {settings.preset}"
        elif field.name in find_editor(config.editor).options:
            source = f"editor {config.editor}"
        elif field.default is None and value is not None:
            source = f"protocol {getattr(settings.editor, 'protocol', '')}".strip()
        else:
            source = "default"
        listed.append({"name": field.name, "value": value, "from": source})
    return listed


def _answer_tokens(loaded: LanguageModel, edits: list[Any]) -> int:
    """Number of supervised tokens; refuses what the model cannot read whole."""
    from ultraedit.encoding import encode
    from ultraedit.evaluate import questions

    asked, _ = questions(edits)
    pairs = [(each.prompt, each.target) for each in asked if each.target is not None]
    encode(loaded.tokenizer, pairs, max_length=loaded.context_length)
    own = encode(loaded.tokenizer, [(edit.prompt, edit.target) for edit in edits])
    return sum(len(item.answer_ids) for item in own)


def _bytes(loaded: LanguageModel) -> int:
    return sum(weight.numel() * weight.element_size() for weight in loaded.model.parameters())


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.resolve().parents) if folder.exists())

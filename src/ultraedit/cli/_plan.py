"""``--dry-run``: everything that a run would do, found out without writing anything."""

from __future__ import annotations

import shutil
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.cli.plan import predict, show

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.data.streams import Source
    from ultraedit.runs.config import RunConfig
    from ultraedit.runs.resolution import ResolvedSettings

COUNTED_AT_ONCE = 10_000
"""Edits that are tokenized together to be counted."""


def make_plan(config: RunConfig, out: Path) -> dict[str, Any]:
    """Find out what a run would do.

    Raises:
        UltraEditError: If it could not be done, as the run itself would.
    """
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit import models
        from ultraedit.data.streams import oddities
        from ultraedit.models import find_modules
        from ultraedit.models.modules import shape_of
        from ultraedit.runs import workflow
        from ultraedit.runs.resolution import resolve
        from ultraedit.tools.plan.estimate import runtime_bytes

        workflow.check_settings(config, out)
        source = workflow.read_edits(config)
        observer.stage("Planning")
        described = models.load_config(config.model)
        settings = resolve(config, described, edits=source.total)
        found = find_modules(models.empty_model(described), settings.modules, name=config.model)
        before = runtime_bytes()
        tokenizer = models.load_tokenizer(config.model)
        for sentence in oddities(source, tokenizer):
            _output.message(sentence)
        tokens = _count_tokens(tokenizer, described, source)
        predicted = _predicted(described, settings, source.total, tokens, before)
    turns, rest = divmod(source.total, config.edits_per_turn)
    return {
        "model": config.model,
        "source": models.resolve(config.model).origin,
        "dtype": settings.dtype,
        "device": settings.device,
        "data": config.data,
        "edits": source.total,
        "answer_tokens": tokens.answers,
        "turns": turns + bool(rest),
        "edits_per_turn": config.edits_per_turn,
        "edits_in_last_turn": rest or config.edits_per_turn,
        "editor": config.editor,
        "preset": settings.preset,
        "options": _options(settings),
        "modules_from": settings.sources["modules"],
        "modules": [
            {"path": path, "d_in": shape_of(module).d_in, "d_out": shape_of(module).d_out}
            for path, module in found.items()
        ],
        "out": str(out),
        "model_bytes": predicted["memory"]["weights"] if config.save_model else 0,
        "free_bytes": shutil.disk_usage(_existing(out)).free,
        "predicted": predicted,
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
    show(plan["predicted"])
    _output.line()
    _output.line("Nothing was written. Leave out --dry-run to do it.")


def _options(settings: ResolvedSettings) -> list[dict[str, Any]]:
    """Every option of the editor, and who decided on it."""
    from ultraedit.runs.config import option_source

    return [
        {
            "name": field.name,
            "value": getattr(settings.editor, field.name),
            "from": option_source(settings.sources, field.name),
        }
        for field in fields(settings.editor)  # type: ignore[arg-type]
    ]


class _Tokens(NamedTuple):
    """Tokens of all edits of a run together."""

    read: int
    answers: int
    asked: int
    """Tokens of all questions."""


def _count_tokens(tokenizer: Any, config: PretrainedConfig, source: Source) -> _Tokens:
    """Count, refusing any question that the model cannot read whole."""
    from ultraedit.core.encoding import encode
    from ultraedit.evaluation.scoring import questions
    from ultraedit.models.language_model import text_config

    longest = getattr(text_config(config), "max_position_embeddings", None)
    edits = source.after()
    read = answers = asked_tokens = 0
    while part := list(islice(edits, COUNTED_AT_ONCE)):
        asked, _ = questions(part)
        pairs = [(each.prompt, each.target) for each in asked if each.target is not None]
        different = {item.input_ids for item in encode(tokenizer, pairs, max_length=longest)}
        asked_tokens += sum(map(len, different))
        items = encode(tokenizer, [(edit.prompt, edit.target) for edit in part])
        read += sum(map(len, items))
        answers += sum(len(item.answer_ids) for item in items)
    return _Tokens(read, answers, asked_tokens)


def _predicted(
    described: PretrainedConfig,
    settings: ResolvedSettings,
    edits: int,
    tokens: _Tokens,
    before: int,
) -> dict[str, Any]:
    """Memory and time of a turn of edits of the mean length."""
    import torch

    from ultraedit.tools.plan.estimate import Workload

    config = settings.config
    workload = Workload(
        min(config.edits_per_turn, edits),
        -(-tokens.read // edits),
        -(-tokens.answers // edits),
        tokens.asked,
    )
    return predict(
        described,
        settings.modules,
        workload,
        getattr(torch, settings.dtype),
        torch.device(settings.device),
        editor=settings.editor,
        device_map=config.device_map,
        before=before,
        name=config.model,
        edits=edits,
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.resolve().parents) if folder.exists())

"""Everything that a run would do, found out without writing anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ultraedit import models
from ultraedit.core.encoding import encode
from ultraedit.core.sources import option_source
from ultraedit.core.types import Observer
from ultraedit.data.streams import EditSource, oddities
from ultraedit.evaluation.scoring import questions
from ultraedit.models import find_modules
from ultraedit.models.language_model import text_config
from ultraedit.models.modules import shape_of
from ultraedit.runs import workflow
from ultraedit.runs.config import RunConfig
from ultraedit.runs.resolution import ResolvedSettings, resolve
from ultraedit.tools.plan.estimate import Workload, runtime_bytes
from ultraedit.tools.plan.prediction import predict

if TYPE_CHECKING:
    from transformers import PretrainedConfig

COUNTED_AT_ONCE = 10_000
"""Edits that are tokenized together to be counted."""


def dry_run(
    config: RunConfig, out: Path, observer: Observer, remark: Callable[[str], None]
) -> dict[str, Any]:
    """Find out what a run would do.

    Args:
        config: Its settings.
        out: Its folder, which is not made.
        observer: Told of each step.
        remark: Told in a sentence of what is odd about the facts.

    Returns:
        Plain values, as ``--json`` prints them.

    Raises:
        UltraEditError: If it could not be done, as the run itself would.
    """
    workflow.check_settings(config, out)
    source = workflow.read_edits(config)
    observer.stage("Planning")
    described = models.load_config(config.model)
    settings = resolve(config, described, edits=source.total)
    modules = find_modules(models.empty_model(described), settings.modules, name=config.model)
    before = runtime_bytes()
    tokenizer = models.load_tokenizer(config.model)
    for sentence in oddities(source, tokenizer):
        remark(sentence)
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
            for path, module in modules.items()
        ],
        "out": str(out),
        "model_bytes": predicted["memory"]["weights"] if config.save_model else 0,
        "free_bytes": shutil.disk_usage(_existing(out)).free,
        "predicted": predicted,
    }


def _options(settings: ResolvedSettings) -> list[dict[str, Any]]:
    """Every option of the editor, and who decided on it."""
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


def _count_tokens(tokenizer: Any, config: PretrainedConfig, source: EditSource) -> _Tokens:
    """Count, refusing any question that the model cannot read whole."""
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

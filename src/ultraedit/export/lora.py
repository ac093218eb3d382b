"""``export --as lora``: a PEFT adapter, or an adapter file of llama.cpp."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import refuse_existing
from ultraedit.core.types import LowRank, NullObserver, Observer, Scores, to_json
from ultraedit.data.streams import EditPanel, whole
from ultraedit.evaluation.outcome import Evaluation, Reference
from ultraedit.evaluation.scoring import evaluate
from ultraedit.export.change import base_of, delta_of, provenance_of
from ultraedit.export.gguf import find_base
from ultraedit.export.gguf_adapter import adapter_tensors, write_gguf_adapter
from ultraedit.export.model_card import adapter_card
from ultraedit.export.peft_adapter import (
    KEPT,
    MARK,
    Compressed,
    Rank,
    compress,
    merged,
    of_one_rank,
    save_lora,
    size_bytes,
)
from ultraedit.export.registry import Exported, Table
from ultraedit.host.host import ModelHost
from ultraedit.models import LanguageModel
from ultraedit.models.delta import Delta
from ultraedit.models.gguf_file import GgufFile
from ultraedit.models.modules import shape_of
from ultraedit.report.formats import format_bytes, format_change, format_percent, short_names
from ultraedit.report.scores import METRICS
from ultraedit.runs.scores import standing
from ultraedit.runs.store import JOURNAL, Journal

LAYOUTS = ("peft", "gguf")
"""A folder that PEFT and the servers built on it load, or one file that llama.cpp loads."""


_JOINED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Projections that vLLM and SGLang compute as one."""


@dataclass(frozen=True)
class Adapter:
    """An exported adapter: what it keeps, and what it costs."""

    modules: Mapping[str, Compressed]

    exact: Scores | None = None
    """Scores of the edited model over the edits of the run; None where it was not asked."""

    adapted: Scores | None = None
    """Scores of the base model with the adapter merged."""


def export(run: Path, out: Path, options: Mapping[str, Any], observer: Observer) -> Exported:
    """As the command line asks for it."""
    given = {name: value for name, value in options.items() if value is not None}
    layout = given.get("format", "peft")
    delta, adapter = export_lora(
        run,
        out,
        rank=_rank(given.get("rank")),
        kept=given.get("energy", KEPT),
        score=given.get("score", True),
        all_layers=given.get("all_layers", False),
        layout=layout,
        base=given.get("base"),
        observer=observer,
    )
    facts = _facts(adapter)
    pairs = {"size": format_bytes(facts["bytes"])}
    commands = []
    if layout == "gguf":
        model = find_base(delta.base, given.get("base"), run)
        commands = [shlex.join(["llama-cli", "-m", str(model), "--lora", str(out)])]
    return Exported(delta, facts, _tables(facts), pairs, commands)


def _rank(text: str | None) -> int | Literal["auto"]:
    if text is None or text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--rank must be auto or a whole number from 1, got {text!r}.")
    return int(text)


def _facts(adapter: Adapter) -> dict[str, Any]:
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
        "exact": None if adapter.exact is None else to_json(adapter.exact),
        "adapter": None if adapter.adapted is None else to_json(adapter.adapted),
    }


def _tables(facts: Mapping[str, Any]) -> list[Table]:
    names = short_names(list(facts["modules"]))
    modules = [
        (name, each["rank"], each["exact_rank"], f"{100 * each['energy']:.2f}%")
        for name, each in zip(names, facts["modules"].values(), strict=True)
    ]
    columns = ["module", "rank", "exact rank", "energy kept"]
    tables = [Table(columns, modules, columns[1:])]
    if facts["exact"] is not None:
        scores = [(name, facts["exact"][name], facts["adapter"][name]) for name in METRICS]
        rows = [
            (name, format_percent(exact), format_percent(ours), format_change(exact, ours))
            for name, exact, ours in scores
            if exact is not None
        ]
        columns = ["metric", "exact", "adapter", "change"]
        tables.append(Table(columns, rows, columns[1:]))
    return tables


def export_lora(
    path: Path,
    out: Path,
    *,
    rank: Rank = "auto",
    kept: float = KEPT,
    score: bool = True,
    all_layers: bool = False,
    layout: str = "peft",
    base: Path | None = None,
    observer: Observer | None = None,
) -> tuple[Delta, Adapter]:
    """Write the change of a run as an adapter.

    Args:
        path: The run folder.
        out: Folder of the adapter, new or empty; for the layout ``gguf`` a new file.
        rank: One for all modules, or ``auto``.
        kept: Share of the energy that ``auto`` keeps in every module.
        score: Whether to score the run's edits with the exact change and with the adapter's.
        all_layers: Whether modules of the same kind in all other layers, and those that servers
            compute together with them, get an adapter of zeros.
        layout: One of `LAYOUTS`.
        base: For the layout ``gguf``, the GGUF file of the base model. None takes the one that
            the run was made on.
        observer: Receives progress updates.

    Raises:
        UltraEditError: If the run or its base model cannot be read, or the folder not be written.
    """
    observer = observer or NullObserver()
    if layout not in LAYOUTS:
        raise ConfigError(f"--format must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    if base is not None and layout != "gguf":
        raise ConfigError("--base is for --format gguf: PEFT adapters need no file of the base.")
    refuse_existing(out, empty_folder=layout == "peft")
    with closing(Journal.open(path / JOURNAL)) as journal:
        delta = delta_of(journal, observer)
        template = GgufFile(find_base(delta.base, base, path)) if layout == "gguf" else None
        observer.stage("Decomposing the changes")
        modules = compress(delta.changes, rank, kept)
        if rank != "auto":
            modules = of_one_rank(modules, rank)
        model = base_of(journal, observer)
        if all_layers:
            modules = with_all_layers(model, modules)
        first = model.model.get_submodule(next(iter(modules)))
        transposed = not isinstance(first, nn.Linear)
        stored = None
        if template is not None:
            stored = adapter_tensors(template, model, delta, modules, exact=base is None)
        panel = standing(journal) if score else whole(())
        edited = {each: module for each, module in modules.items() if each in delta.changes}
        scorable = bool(panel.edits)
        adapter = _scored(model, delta, edited, panel, observer) if scorable else Adapter(edited)
        adapter = replace(adapter, modules=modules)
        scores = [
            None if each is None else to_json(each) for each in (adapter.exact, adapter.adapted)
        ]
        if template is not None and stored is not None:
            write_gguf_adapter(out, template, delta, stored)
            return delta, adapter
        save_lora(
            out,
            modules,
            base=delta.base,
            transposed=transposed,
            card=adapter_card(provenance_of(journal, delta), modules, *scores),
            header={MARK: "1", **delta.about},
        )
    return delta, adapter


def with_all_layers(
    model: LanguageModel, modules: Mapping[str, Compressed]
) -> dict[str, Compressed]:
    """Add an adapter of zeros to the modules of the same kinds in all other layers.

    A kind that servers compute together with others, as queries with keys and values, brings those
    along: SGLang leaves out an ``up_proj`` without its ``gate_proj``, and says so in its log alone.

    Args:
        model: The base model.
        modules: Per module path its compressed change.

    Returns:
        All of them, in the order of the model. Those of zeros have the largest rank of `modules`.
    """
    rank = max(module.rank for module in modules.values())
    kinds = {kind for path in modules for kind in _joined(_kind(path))}
    complete = {}
    for path, module in model.model.named_modules():
        if path in modules:
            complete[path] = modules[path]
        elif _kind(path) in kinds and getattr(module, "weight", None) is not None:
            d_in, d_out = shape_of(module)
            zeros = LowRank(torch.zeros(d_in, rank), torch.zeros(rank, d_out))
            complete[path] = Compressed(zeros, rank, 1.0, 0)
    return complete


def _kind(path: str) -> str:
    """The path of a module without the number of its layer."""
    return re.sub(r"\.\d+\.", ".N.", path, count=1)


def _joined(kind: str) -> set[str]:
    """A kind of module, and those that servers compute together with it."""
    before, _, name = kind.rpartition(".")
    joined = next((names for names in _JOINED if name in names), (name,))
    return {f"{before}.{each}" for each in joined}


def _scored(
    model: LanguageModel,
    delta: Delta,
    modules: Mapping[str, Compressed],
    panel: EditPanel,
    observer: Observer,
) -> Adapter:
    """Ask the unedited model, the exactly edited one, and the one with the adapter merged."""
    host = ModelHost(model, list(modules))

    def ask(reference: Reference | None) -> Evaluation:
        return evaluate(
            host,
            panel.edits,
            reference=reference,
            newest=panel.newest,
            free_answers=0,
            observer=observer,
        )

    reference = ask(None).reference
    scores = []
    for changes in (delta.changes, merged(modules)):
        host.weights.restore(changes)
        scores.append(ask(reference).scores)
    return Adapter(modules, *scores)

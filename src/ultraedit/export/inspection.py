"""What an exported file says of itself, and whether it is what a run wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.tensor_files import index_path, is_sharded, read_tensors
from ultraedit.core.types import LowRank, NullObserver, Observer
from ultraedit.export.change import base_of, delta_of
from ultraedit.export.gguf import find_base
from ultraedit.export.gguf_rounding import within
from ultraedit.export.gguf_tensors import orders, run_weights, tensor_names
from ultraedit.export.peft_adapter import ADAPTER, compress
from ultraedit.export.registry import Check, Comparison, Contents, recognized
from ultraedit.models.delta import Delta, delta_files, is_delta_path, load_delta
from ultraedit.models.gguf_file import GgufFile, is_gguf, same_bytes
from ultraedit.report.formats import format_bytes, format_percent
from ultraedit.runs.store import JOURNAL, Journal

_ABOUT = (
    *(each.name for each in fields(Delta) if each.name not in ("changes", "source")),
    "base_sha256",
)
"""What files say of their run, in this order."""

_COMPARED = ("fingerprint", "dtype", "editor", "edits", "turns", "facts")
"""What has to be the same in a run and in a file of it."""

_ROUNDING = 1e-3
"""Largest relative distance of two truncated decompositions of one change."""


@dataclass(frozen=True)
class Inspected:
    """What a file is and says."""

    path: Path

    kind: str
    """``delta``, ``PEFT adapter``, ``GGUF model`` or ``GGUF adapter``."""

    about: Mapping[str, str]
    """Where it comes from; empty in a file that was not made by this package."""

    holds: Mapping[str, str]
    """What is in it, in words."""

    checks: tuple[Check, ...] = ()

    @property
    def is_as_written(self) -> bool:
        """Whether nothing differs from the run that it was compared with."""
        return all(check.ok for check in self.checks)


def inspect(
    path: Path,
    run: Path | None = None,
    base: Path | None = None,
    observer: Observer | None = None,
) -> Inspected:
    """Read what an exported file says, and compare it with a run.

    Args:
        path: A delta, the folder of a PEFT adapter or its tensors, or a GGUF file.
        run: The folder of the run that it should be of; None compares nothing.
        base: GGUF file of the base model, with which the unedited tensors of a GGUF file are
            compared. None takes the one that the run was made on, if it is such a file.
        observer: Receives progress updates.

    Raises:
        ConfigError: If it is none of these.
        StorageError: If it is damaged.
    """
    observer = observer or NullObserver()
    observer.stage("Reading")
    if not is_delta_path(_inside(path)):
        raise ConfigError(
            f"{path} is no exported file. Give a delta, a .gguf file or the folder of a PEFT "
            "adapter; a run is shown by `ultraedit history`."
        )
    kind, about, holds, compare = recognized(path, attrgetter("inspector"), base)
    checks: tuple[Check, ...] = ()
    if run is not None:
        with closing(Journal.open(run / JOURNAL)) as journal:
            delta = delta_of(journal, observer)
            observer.stage("Comparing with the run")
            checks = (*_compare_about(about, delta), *compare(journal, delta))
    return Inspected(path, kind, about, holds, checks)


def _inside(path: Path) -> Path:
    """The file to look at: of the folder of an adapter its tensors, of a sharded file its index."""
    if path.is_dir():
        return path / ADAPTER
    return index_path(path) if is_sharded(path) else path


def inspect_adapter(path: Path, base: Path | None = None) -> Contents | None:
    """A PEFT adapter: its folder, or its tensors."""
    if is_sharded(path):
        return None
    path = _inside(path)
    tensors, header = read_tensors(path)
    if not any(name.endswith(".lora_A.weight") for name in tensors):
        return None
    pairs = _pairs(tensors, "base_model.model.", ".lora_A.weight", ".lora_B.weight")
    return _adapter("PEFT adapter", path, _known(header), pairs)


def inspect_delta(path: Path, base: Path | None = None) -> Contents:
    """A delta, or an error that says what the file is instead."""
    delta = load_delta(path)
    files = delta_files(path)
    shards = {"shards": str(len(files) - 1)} if len(files) > 1 else {}
    holds = {
        "modules": ", ".join(delta.changes),
        **shards,
        "size": format_bytes(sum(file.stat().st_size for file in files)),
    }

    def compare(_: Journal, ours: Delta) -> Iterator[Check]:
        same = delta.changes.keys() == ours.changes.keys() and all(
            torch.equal(change, ours.changes[name].float().cpu())
            for name, change in delta.changes.items()
        )
        said = "the same to the last bit" if same else "others than the run has now"
        yield Check("changes", same, said)

    return Contents("delta", _known(delta.about), holds, compare)


def _pairs(
    tensors: Mapping[str, Tensor], start: str, down: str, up: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors of an adapter by module: shapes (r, d_in) and (d_out, r)."""
    names = [name.removesuffix(down) for name in tensors if name.endswith(down)]
    return {
        name.removeprefix(start): (tensors[f"{name}{down}"], tensors[f"{name}{up}"])
        for name in names
    }


def _adapter(
    kind: str, path: Path, about: dict[str, str], pairs: dict[str, tuple[Tensor, Tensor]]
) -> Contents:
    ranks = Counter(down.shape[0] for down, _ in pairs.values())
    holds = {
        "modules": ", ".join(pairs),
        "ranks": ", ".join(f"{rank} in {count}" for rank, count in sorted(ranks.items())),
        "size": format_bytes(path.stat().st_size),
    }

    def compare(_: Journal, ours: Delta) -> Iterator[Check]:
        for name, change in ours.changes.items():
            if name not in pairs:
                yield Check(name, ok=False, said="the adapter has nothing for it")
                continue
            yield _nearest(name, change, *pairs[name], orders=[None])

    return Contents(kind, about, holds, compare)


def _nearest(
    name: str, change: Tensor, down: Tensor, up: Tensor, orders: list[np.ndarray[Any, Any] | None]
) -> Check:
    """Whether factors are the nearest change of their rank, in one of some orders of the rows."""
    change = change.float().cpu()
    used = int((down.abs().sum(1) > 0).sum())  # Those of zeros pad it to a rank.
    best = next(iter(compress({name: change}, max(used, 1)).values()))
    wanted = best.factors.dense()
    size = float(wanted.norm()) or 1.0
    distances = []
    for rows in orders:
        stored = up if rows is None else up[torch.from_numpy(np.argsort(rows))]
        distances.append(float((LowRank(down.T, stored.T).dense() - wanted).norm()) / size)
    ok = min(distances) <= _ROUNDING
    said = f"rank {used}, {format_percent(best.energy)} of the energy of the run's change"
    return Check(name, ok, said if ok else f"{min(distances):.2g} of the norm from the run's")


def inspect_gguf(path: Path, base: Path | None = None) -> Contents | None:
    """A GGUF file: a model or an adapter."""
    if not is_gguf(path):
        return None
    file = GgufFile(path)
    about = _known({key: file.value(f"ultraedit.{key}") for key in _ABOUT})
    if file.is_adapter:
        tensors = {name: torch.from_numpy(file.weight(name).copy()) for name in file.tensors}
        pairs = _pairs(tensors, "", ".lora_a", ".lora_b")
        contents = _adapter("GGUF adapter", path, about, pairs)
        return contents._replace(compare=_compare_gguf_adapter(file, pairs, base))
    types = Counter(tensor.kind.name for tensor in file.tensors.values())
    holds = {
        "name": str(file.value("general.name") or ""),
        "architecture": file.architecture,
        "tensors": ", ".join(f"{count} in {kind}" for kind, count in types.most_common()),
        "chat template": "yes" if file.value("tokenizer.chat_template") else "no",
        "size": format_bytes(path.stat().st_size),
    }
    holds = {name: said for name, said in holds.items() if said}

    def compare(journal: Journal, ours: Delta) -> Iterator[Check]:
        weights = run_weights(base_of(journal, NullObserver()), ours)
        names = tensor_names(file)
        edited = set()
        for module, weight in weights.items():
            name = names(module)
            if name is None or name not in file.tensors:
                yield Check(module, ok=False, said="the file has no tensor for it")
                continue
            edited.add(name)
            kind, stored = file.tensors[name].kind, file.weight(name)
            candidates = orders(file, len(weight.after))
            ok = any(
                within(stored, weight.after if rows is None else weight.after[rows], kind)
                for rows in candidates
            )
            said = f"is the run's weight rounded to {kind.name}"
            yield Check(name, ok, said if ok else f"is not the run's weight rounded to {kind.name}")
        yield from _compare_rest(file, edited, ours, base, journal.path.parent)

    return Contents("GGUF model", about, holds, compare)


def _compare_rest(
    file: GgufFile, edited: set[str], delta: Delta, base: Path | None, run: Path
) -> Iterator[Check]:
    """The tensors that the run did not edit."""
    try:
        template = GgufFile(find_base(delta.base, base, run))
    except ConfigError:
        return  # The run was made on a folder, and nobody says which file was copied.
    rest = [name for name in template.tensors if name not in edited]
    same = list(file.tensors) == list(template.tensors) and all(
        same_bytes(file, template, name) for name in rest
    )
    said = f"are those of {template.path}" if same else f"differ from those of {template.path}"
    yield Check(f"{len(rest)} other tensors", same, said)


def _compare_gguf_adapter(
    file: GgufFile, pairs: dict[str, tuple[Tensor, Tensor]], base: Path | None
) -> Comparison:
    def compare(journal: Journal, ours: Delta) -> Iterator[Check]:
        template = GgufFile(find_base(ours.base, base, journal.path.parent))
        names = tensor_names(template)
        for module, change in ours.changes.items():
            name = names(module)
            if name not in pairs:
                yield Check(module, ok=False, said="the adapter has nothing for it")
                continue
            candidates = orders(template, change.shape[1])
            yield _nearest(str(name), change, *pairs[str(name)], orders=candidates)

    return compare


def _compare_about(about: Mapping[str, str], delta: Delta) -> Iterator[Check]:
    """What the file says of its run beside what the run says."""
    if not about:
        yield Check("provenance", ok=False, said="the file does not say where it comes from")
        return
    ours = delta.about
    for name in _COMPARED:
        if about.get(name):
            same = about[name] == ours[name]
            said = about[name] if same else f"{about[name]}, and the run has {ours[name]}"
            yield Check(name, same, said)


def _known(header: Mapping[str, str | None]) -> dict[str, str]:
    """What a header says of the run, in order."""
    return {name: str(header[name]) for name in _ABOUT if header.get(name)}


def scores_line(about: Mapping[str, str]) -> str | None:
    """The scores that a file says its run had, in words."""
    if not about.get("scores"):
        return None
    scores = json.loads(about["scores"])
    said = [f"{name} {format_percent(each)}" for name, each in scores.items() if each is not None]
    return ", ".join(said) or None

"""Second moments that were computed elsewhere, in the layout of ROME and its descendants.

A file ``MODULE_float32_mom2_100000.npz`` holds ``mom2.mom2``, the *sum* of the outer products, and
``mom2.count``, the number of tokens. Nothing in it says of which model it is. So a few
thousand tokens are run through the model: how large each input is on average must agree.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy
import torch
from torch import Tensor

from ultraedit import data
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import NullObserver, Observer, SecondMoment
from ultraedit.host.second_moments import cache
from ultraedit.host.second_moments.providers import OfPrompts
from ultraedit.models import find_modules, fingerprint
from ultraedit.models.modules import shape_of

if TYPE_CHECKING:
    from torch import nn

    from ultraedit.models import LanguageModel

_NAME = re.compile(r"(?P<module>.+?)_(?:b?float\d+)_mom2\w*\.npz")

LIKENESS = 0.4
"""Least correlation of the logarithms of the inputs' mean squares, imported against measured. On
SmolLM2, Wikipedia against the demo's facts, the right module has 0.77 to 0.82 and a wrong one less
than 0.1 in size (LOG.md, 2026-11-22)."""


class _File(NamedTuple):
    path: Path
    module: str


def import_moments(
    path: Path, language_model: LanguageModel, observer: Observer | None = None
) -> list[cache.CachedMoment]:
    """Import a file, or every file of a folder; all of them or, if one is refused, none.

    Args:
        path: An ``.npz`` file, or a folder with such files at any depth.
        language_model: The model that they are of, unedited.
        observer: Told of every file.

    Raises:
        ConfigError: If there is no file, or a module is none of the model's.
        DataError: If a file cannot be read, or is of another model or module.
        StorageError: If the cache cannot be written.
    """
    observer = observer or NullObserver()
    listed = list(_files(path))
    modules = {file: _module(file, language_model) for file in listed}
    by_path = dict(modules.values())
    observer.stage(f"Importing {len(listed)} files", 2 * len(listed))
    measured = OfPrompts(_texts()).moments(language_model, by_path)
    for file, (name, module) in modules.items():
        _check(file, name, _read(file, shape_of(module).d_in), measured[name])
        observer.advance()
    of = fingerprint(language_model.model)
    entries = []
    for file, (name, module) in modules.items():
        moment = _read(file, shape_of(module).d_in)
        facts = {"model": language_model.name, "fingerprint": of, "module": name}
        facts |= {"corpus": cache.IMPORTED, "source": f"imported from {file.path.name}"}
        entries.append(cache.put(moment.moment, tokens=moment.tokens, **facts))
        observer.advance()
    return entries


def likeness(one: Tensor, other: Tensor) -> float:
    """Correlation of the logarithms of two diagonals: 1 for the same module, near 0 for others."""
    logs = torch.stack([m.diagonal().cpu().double().clamp(min=1e-12).log() for m in (one, other)])
    correlation = float(torch.corrcoef(logs)[0, 1])
    # Constant diagonals have no correlation.
    return 0.0 if math.isnan(correlation) else correlation


def _texts() -> list[str]:
    """Facts that come with the package, a few thousand tokens."""
    with as_file(files("ultraedit") / "data" / "demo_facts.jsonl") as file:
        return [f"{fact.prompt} {fact.target}" for fact in data.read(f"jsonl:{file}")]


def _files(path: Path) -> Iterator[_File]:
    archives = sorted(path.rglob("*.npz")) if path.is_dir() else [path]
    if not archives or not path.exists():
        raise ConfigError(f"There is no .npz file at {path}.")
    for file in archives:
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise DataError(
                f"The name of {file} says no module. Expected one as ROME writes it: "
                "MODULE_float32_mom2_100000.npz."
            )
        yield _File(file, match["module"])


def _module(file: _File, language_model: LanguageModel) -> tuple[str, nn.Module]:
    """The module that a file is named after, with its path in this model."""
    try:
        matching = find_modules(language_model.model, [file.module], name=language_model.name)
    except ConfigError as error:
        raise ConfigError(f"{file.path.name} is not of this model. {error}") from error
    if len(matching) > 1:
        raise ConfigError(f"{file.path.name} could be of {', '.join(matching)}.")
    return next(iter(matching.items()))


def _read(file: _File, d_in: int) -> SecondMoment:
    """The mean outer product in a file, float32."""
    try:
        with numpy.load(file.path, allow_pickle=False) as arrays:
            total, count = arrays["mom2.mom2"], int(arrays["mom2.count"])
    except KeyError as error:
        raise DataError(f"{file.path} holds no {error.args[0]}; expected mom2.mom2.") from error
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file.path} cannot be read as an .npz file of numbers: {error}"
        ) from error
    if total.shape != (d_in, d_in):
        raise DataError(
            f"{file.path} is of another model: its matrix has shape {total.shape}, the inputs of "
            f"{file.module} need ({d_in}, {d_in})."
        )
    moment = torch.from_numpy(numpy.asarray(total / max(count, 1), dtype=numpy.float32))
    usable = count > 0 and bool(torch.isfinite(moment).all()) and bool((moment.diag() >= 0).all())
    if not usable or not torch.allclose(
        moment, moment.T, rtol=1e-2, atol=float(moment.max()) / 1e3
    ):
        raise DataError(f"{file.path} holds no second moment: it is not symmetric and finite.")
    return SecondMoment(moment, count, f"imported from {file.path.name}")


def _check(file: _File, name: str, moment: SecondMoment, measured: SecondMoment) -> None:
    correlation = likeness(moment.moment, measured.moment)
    if correlation < LIKENESS:
        raise DataError(
            f"{file.path} is of another model or module than {name}: the sizes of the inputs "
            f"correlate by {correlation:.2f} with those measured, expected {LIKENESS} or more."
        )

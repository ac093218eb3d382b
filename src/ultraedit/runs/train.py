"""Train an editor's net: rows, model, turns, and a file that goes on where it was killed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit import data, models
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.files import refuse_existing
from ultraedit.core.nets import Net, read_net
from ultraedit.core.types import Edit, NullObserver, Observer
from ultraedit.editors import EDITORS, make_editor
from ultraedit.editors.families.fit import Fitted, Schedule, ValidationCheck, fit
from ultraedit.editors.families.trained import TrainableEditor, about_net
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import keep_freed_memory
from ultraedit.runs.config import RunConfig, TrainingPlan
from ultraedit.runs.resolution import resolve

if TYPE_CHECKING:
    from ultraedit.data import DataSpec

EDITED = {"wikibigedit": 17_000}
"""Rows that the paper edits, where not `EDITED_ELSEWHERE`."""

EDITED_ELSEWHERE = 20_000

MATCHED = ("wikibigedit", "ultraeditbench")
"""Data sets of which the paper trains on as many rows as it edits, rather than on all others."""

KEEP_SECONDS = 30.0
"""Time between two copies of an unfinished training on the disk."""


@dataclass(frozen=True)
class Rows:
    """The rows of a file that a training uses."""

    training: list[Edit]
    validation: list[Edit]
    first: int
    """Number of the first training row in the file, from 1."""


@dataclass(frozen=True)
class TrainResult:
    """A finished training."""

    path: Path
    net: Net
    fitted: Fitted
    rows: Rows
    seconds: float
    """Wall time of this call; a training that was killed before took longer in all."""
    resumed_at: int
    """Turns that had been done before."""

    def summary(self) -> dict[str, Any]:
        """Everything worth printing, as plain values."""
        return {
            "net": str(self.path),
            **{key: self.net.about[key] for key in ("editor", "model", "fingerprint", "training")},
            "seconds": self.seconds,
            "resumed_at_turn": self.resumed_at,
        }


def train(
    config: RunConfig,
    plan: TrainingPlan,
    out: Path,
    observer: Observer | None = None,
    report: Callable[[ValidationCheck], None] | None = None,
) -> TrainResult:
    """Train a net and leave it in a file.

    Beside the file, one of the same name with ``.training`` at the end holds an unfinished
    training. The same call finds it and goes on, to the same net to the last bit.

    Args:
        config: Editor, model, data and so on, as for a run. `limit` counts training rows.
        plan: What a run does not have.
        out: The file.
        observer: Receives progress updates.
        report: Told of each look at the validation rows.

    Raises:
        UltraEditError: If a setting, the data or the model cannot be used, or the file cannot be
            written.
    """
    observer = observer or NullObserver()
    keep_freed_memory()
    _require_trainable(config)
    refuse_existing(out, empty_folder=False)
    editor = make_editor(config.editor, config.options)
    assert isinstance(editor, TrainableEditor)
    rows = choose_rows(config, plan, editor)
    observer.stage("Loading the model")
    settings = resolve(config, models.load_config(config.model))
    editor = settings.editor
    assert isinstance(editor, TrainableEditor)
    loaded = models.load(config.model, dtype=config.dtype, device=config.device)
    host = ModelHost(loaded, settings.modules, getattr(editor, "master", "float32"))
    editor.learned.require_fit(host, editor)
    schedule = editor.schedule(
        Schedule(
            edits_per_turn=config.edits_per_turn,
            epochs=plan.epochs,
            check_every=plan.check_every,
            patience=plan.patience,
            seed=config.seed,
        )
    )
    about = about_net(editor, host, config.model, asdict(editor))  # type: ignore[call-overload]
    about["training"] = {
        "data": config.data,
        "rows": f"{rows.first:,} to {rows.first + len(rows.training) - 1:,}",
        "validation_rows": len(rows.validation),
        "content": _digest([*rows.training, *rows.validation]),
        "dtype": settings.dtype,
        "device": settings.device,
        "schedule": asdict(schedule),
    }
    unfinished = _Unfinished(out, about)
    saved = unfinished.read()
    start = time.perf_counter()
    fitted = fit(
        editor.learner(host, config.seed),
        rows.training,
        schedule,
        validation=rows.validation,
        saved=saved,
        keep=unfinished.keep,
        report=report,
        observer=observer,
    )
    about["training"] |= {
        "turns": fitted.turns,
        "stopped_early": fitted.stopped_early,
        "checks": [check._asdict() for check in fitted.checks],
    }
    net = Net(fitted.net.tensors, about)
    net.save(out)
    unfinished.path.unlink(missing_ok=True)
    resumed_at = 0 if saved is None else saved.about["turns"]
    return TrainResult(out, net, fitted, rows, time.perf_counter() - start, resumed_at)


def choose_rows(config: RunConfig, plan: TrainingPlan, editor: TrainableEditor) -> Rows:
    """The rows that a training uses, by default the paper's choice.

    The first rows of the file are the ones to be edited. RLEdit trains on as many of the rows
    behind them, the others on all; on WikiBigEdit and UltraEditBench all on as many.

    Raises:
        DataError: If no row is left to train on.
    """
    spec = data.parse_spec(config.data)
    edited = _edited(spec, config.seed) if plan.edited is None else plan.edited
    matched = editor.training_rows == "matched" or spec.format in MATCHED
    count = edited if matched and edited else None
    if config.limit is not None:
        count = config.limit if count is None else min(count, config.limit)
    stream = data.stream(spec, seed=config.seed)
    chosen = list(islice(stream, edited, None if count is None else edited + count))
    training = chosen[: max(0, len(chosen) - plan.validation)]
    if not training:
        raise DataError(
            f"{spec} has {len(chosen):,} rows behind the {edited:,} that will be edited, of which "
            f"{plan.validation} are for validation: none is left to train on. Lower --edited or "
            "--validation."
        )
    return Rows(training, chosen[len(training) :], edited + 1)


def _edited(spec: DataSpec, seed: int) -> int:
    """How many rows the paper edits, or half of the file."""
    wanted = EDITED.get(spec.format, EDITED_ELSEWHERE)
    rows = sum(1 for _ in islice(data.stream(spec, seed=seed), 2 * wanted))
    return min(wanted, rows // 2)


def _require_trainable(config: RunConfig) -> None:
    """Refuse an editor without a net."""
    if not hasattr(_class(config.editor), "learner"):
        trained = [name for name in EDITORS if hasattr(_class(name), "learner")]
        raise ConfigError(
            f"{config.editor} needs no training. Those that are trained are {', '.join(trained)}."
        )


def _class(name: str) -> type[Any]:
    from ultraedit.editors import find_editor

    return find_editor(name).load()


def _digest(edits: Sequence[Edit]) -> str:
    """Hash of what is trained on."""
    sha256 = hashlib.sha256()
    for edit in edits:
        sha256.update(repr((edit.prompt, edit.target, edit.rephrases, edit.locality)).encode())
    return sha256.hexdigest()


class _Unfinished:
    """The file of a training that has not ended."""

    def __init__(self, out: Path, about: dict[str, Any]) -> None:
        self.path = out.with_name(f"{out.name}.training")
        self._about = {key: about[key] for key in about}
        self._about["training"] = dict(about["training"])
        self._kept_at = time.monotonic()

    def read(self) -> Net | None:
        """What a training with these settings has left; None if there is nothing.

        Raises:
            ConfigError: If it was another training.
        """
        if not self.path.exists():
            return None
        saved = read_net(self.path)
        begun = saved.about["settings"]
        for name, value in _flat(self._about).items():
            if _flat(begun).get(name) != value:
                raise ConfigError(
                    f"{self.path} holds a training with {name}={_flat(begun).get(name)}, not "
                    f"{value}. Give the same settings to go on, choose another --out, or delete it."
                )
        return saved

    def keep(self, pack: Callable[[], Net]) -> None:
        """Write the training down, if that was long enough ago."""
        if time.monotonic() - self._kept_at < KEEP_SECONDS:
            return
        packed = pack()
        Net(packed.tensors, {**packed.about, "settings": self._about}).save(self.path)
        self._kept_at = time.monotonic()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and not (prefix == "" and key == "modules"):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

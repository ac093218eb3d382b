"""Two things that hold edits, side by side: delta files, run folders or models."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import is_run
from ultraedit.core.types import NullObserver, Observer
from ultraedit.export.change import edited_model, read_delta
from ultraedit.export.gguf_adapter import load_gguf_adapter
from ultraedit.export.peft_adapter import ADAPTER, load_lora
from ultraedit.export.registry import recognized
from ultraedit.export.weight_difference import ModuleDiff, diff_changes, diff_models
from ultraedit.models import load, load_config
from ultraedit.models.delta import Delta, apply_delta, is_delta_path, load_delta
from ultraedit.models.overlays.overlay import beside

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel


@dataclass(frozen=True)
class Difference:
    """What lies between A and B."""

    of: Literal["changes", "weights"]
    """What was compared: two changes, or the weights of two models."""

    same_base: bool
    """Whether both changes were made on the same weights; True of weights."""

    modules: tuple[ModuleDiff, ...]


def compare(a: str, b: str, observer: Observer | None = None) -> Difference:
    """Compare two things, each a delta file, a run folder or the name of a model.

    Two changes are compared as they are. Where one of the two is a model, the other one becomes
    one too: its base is loaded, and its change applied.

    Args:
        a: A file from ``export --as delta``, an adapter from ``--as lora`` in either format, the
            folder of a run, or what `models.load` takes.
        b: Another.
        observer: Receives progress updates.

    Raises:
        UltraEditError: If one of them cannot be read, or they are of different architectures.
    """
    observer = observer or NullObserver()
    observer.stage("Reading")
    ours, theirs = _read_change(a, observer), _read_change(b, observer)
    if ours is not None and theirs is not None:
        same = ours.fingerprint == theirs.fingerprint
        observer.stage("Comparing the changes")
        return Difference("changes", same, tuple(diff_changes(ours.changes, theirs.changes)))
    one, other = (_read_model(name, change, observer) for name, change in ((a, ours), (b, theirs)))
    observer.stage("Comparing the models")
    return Difference("weights", True, tuple(diff_models(one.model, other.model)))


def _read_change(name: str, observer: Observer) -> Delta | None:
    """The change that a name stands for, or None where it stands for a model."""
    path = Path(name).expanduser()
    if is_run(path):
        return read_delta(path, observer)
    change: Delta | None = recognized(path, attrgetter("reader"))
    return change


def change_of_adapter(path: Path) -> Delta | None:
    """The change of an adapter of PEFT or of llama.cpp; None of anything else."""
    return load_lora(path) if (path / ADAPTER).is_file() else load_gguf_adapter(path)


def change_of_delta(path: Path) -> Delta | None:
    """The change of a delta; None of what is no file, or a model in one."""
    return load_delta(path) if is_delta_path(path) and path.suffix.lower() != ".gguf" else None


def _read_model(name: str, change: Delta | None, observer: Observer) -> LanguageModel:
    """The model that a name stands for, or the one that a change makes of its base."""
    path = Path(name).expanduser()
    if change is not None and is_run(path):
        return edited_model(path, observer)  # knows where its base lies, wherever we are
    observer.stage(f"Loading {name if change is None else change.base}")
    if change is None:
        # As it is stored, which float32 holds too where a CPU refuses it.
        stored = str(load_config(name).dtype).removeprefix("torch.")
        dtype = "bfloat16" if stored == "bfloat16" else "float32"
        model = load(name, dtype=dtype, device="cpu")
        if (more := beside(model)) is not None:
            raise ConfigError(
                f"The edits of {name} are {more}, which cannot be compared weight by weight. "
                f"`ultraedit eval {name}` scores it."
            )
        return model
    model = load(change.base, dtype=change.dtype, device="cpu")
    apply_delta(model, [change])
    return model

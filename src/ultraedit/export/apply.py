"""From a base model and deltas to an edited model on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import refuse_existing
from ultraedit.core.types import NullObserver, Observer
from ultraedit.export.model_card import applied_card
from ultraedit.models import load, save
from ultraedit.models.delta import Delta, apply_delta, load_delta


@dataclass(frozen=True)
class Applied:
    """An edited model that was put together from deltas."""

    folder: Path
    base: str
    deltas: tuple[Delta, ...]
    signs: tuple[int, ...]


def apply_to(
    base: str,
    add: Sequence[Path],
    subtract: Sequence[Path],
    out: Path,
    *,
    device: str = "auto",
    observer: Observer | None = None,
) -> Applied:
    """Load a base model, apply deltas, and save it with a card.

    Args:
        base: The model that the deltas were made on, in the words of `models.load`. It is loaded
            in their precision.
        add: Files of the deltas to add.
        subtract: Files of the deltas to subtract.
        out: Folder of the new model; new or empty.
        device: Where to compute.
        observer: Receives progress updates.

    Raises:
        UltraEditError: If there is no delta, one of them is not of this base, or something cannot
            be read or written. Nothing is left behind then.
    """
    observer = observer or NullObserver()
    refuse_existing(out)
    if not add and not subtract:
        raise ConfigError("There is no delta to apply. Give one after the base model.")
    observer.stage("Reading the deltas")
    deltas = tuple(load_delta(path) for path in (*add, *subtract))
    signs = (1,) * len(add) + (-1,) * len(subtract)
    _check_dtypes(deltas)
    observer.stage(f"Loading {base}")
    model = load(base, dtype=deltas[0].dtype, device=device)
    observer.stage("Applying the changes")
    apply_delta(model, deltas, signs)
    observer.stage("Saving the edited model")
    save(model, out, card=applied_card(base, deltas, signs))
    return Applied(out, base, deltas, signs)


def _check_dtypes(deltas: Sequence[Delta]) -> None:
    first = deltas[0]
    for delta in deltas[1:]:
        if delta.dtype != first.dtype:
            raise ConfigError(
                f"{delta.source} is a change of a model in {delta.dtype}, {first.source} of one in "
                f"{first.dtype}. Deltas go together only if their runs had the same --dtype."
            )

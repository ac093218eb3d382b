"""Is a run folder what its journal says: every file, and the weights of the saved model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.errors import UltraEditError
from ultraedit.core.files import sha256
from ultraedit.core.types import NullObserver, Observer
from ultraedit.models.fingerprint import fingerprint
from ultraedit.report import format_count
from ultraedit.runs.base_model import ModelSource, open_host
from ultraedit.runs.replay import problem_of, restore, wrong_norms
from ultraedit.runs.store import (
    JOURNAL,
    SEAL,
    Journal,
    StoredFile,
    is_result,
    read_snapshot,
    seal_of,
)


class Damage(NamedTuple):
    """Something that is not what it was."""

    file: str
    """Within the run folder."""
    problem: str


class Verified(NamedTuple):
    """What was looked at, and what is wrong with it."""

    files: int
    """Number of files whose bytes were compared with their hashes."""
    damages: tuple[Damage, ...]
    weights: str
    """What was found of the weights, as a sentence."""
    notes: tuple[str, ...]
    """What is no damage and good to know."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages


def verify(path: Path, observer: Observer | None = None) -> Verified:
    """Check a run folder, changing nothing in it.

    Args:
        path: The run folder.
        observer: Receives progress updates.

    Returns:
        What was found. A journal that is damaged beyond reading is a finding too.

    Raises:
        ConfigError: If the folder holds no run, or one of a newer version of this program.
    """
    observer = observer or NullObserver()
    seal = list(_broken_seal(path))
    notes = [] if (path / SEAL).exists() else [_unsealed(path)]
    try:
        journal = Journal.open(path / JOURNAL)
        damage = journal.damage()
        if damage is not None:
            raise UltraEditError(damage)
        files = journal.files()
        observer.stage("Comparing files with their hashes", len(files))
        damages = [*seal, *_broken_files(journal, observer)]
    except UltraEditError as error:
        if not (path / JOURNAL).is_file():
            raise
        unreadable = seal or [Damage(JOURNAL, f"it cannot be read: {error}")]
        return Verified(1, tuple(unreadable), "The weights were not compared.", tuple(notes))
    try:
        if not damages:
            damages += _foreign_snapshots(journal, observer)
        if damages:
            weights = "The weights were not compared, since files are damaged."
        else:
            wrong, weights = _compare_weights(journal, observer)
            damages += wrong
        notes += _unknown(journal)
        return Verified(len(files) + 1, tuple(damages), weights, tuple(notes))
    finally:
        journal.close()


def _broken_seal(path: Path) -> Iterator[Damage]:
    seal, journal = path / SEAL, path / JOURNAL
    if seal.is_file() and journal.is_file() and seal.read_bytes() != seal_of(journal):
        yield Damage(JOURNAL, f"its bytes are not those that {SEAL} names")


def _unsealed(path: Path) -> str:
    return (
        f"There is no {SEAL}: a process is at work here or was killed, so the journal was checked "
        f"for its form alone. `ultraedit run --resume {path}` finishes the run and seals it."
    )


def _broken_files(journal: Journal, observer: Observer) -> Iterator[Damage]:
    folder = journal.path.parent
    for file in journal.files():
        observer.advance()
        path = folder / file.path
        try:
            size = path.stat().st_size
            if size != file.bytes:
                yield Damage(file.path, f"it has {size:,} bytes instead of {file.bytes:,}")
            elif sha256(path) != file.sha256:
                yield Damage(file.path, "its bytes are not those that were written")
        except FileNotFoundError:
            yield Damage(file.path, "it is missing")
        except OSError as error:
            yield Damage(file.path, f"it cannot be read: {error.strerror or error}")


def _foreign_snapshots(journal: Journal, observer: Observer) -> Iterator[Damage]:
    """Snapshots whose bytes are those that were written, and that do not hold what their turn left.

    Where a turn has no digest on record its norms are compared, which takes the model.
    """
    unnoted: list[tuple[StoredFile, int]] = []
    for saved in journal.snapshots_before(journal.head()):
        assert saved.turn is not None
        problem = problem_of(journal, saved, read_snapshot(journal.path.parent / saved.path))
        if problem is not None:
            yield Damage(saved.path, problem)
        elif journal.digest(saved.turn) is None:
            unnoted.append((saved, saved.turn))
    if not unnoted:
        return
    host, _ = open_host(journal, observer)
    for saved, turn in unnoted:
        host.weights.restore(read_snapshot(journal.path.parent / saved.path).changes)
        problem = wrong_norms(host, journal, turn)
        if problem is not None:
            yield Damage(saved.path, problem)


def _compare_weights(journal: Journal, observer: Observer) -> tuple[list[Damage], str]:
    """Put the accumulated change on the unedited model, and compare the saved one with that."""
    saved = journal.path.parent / "model"
    if not saved.is_dir():
        return [], "The run keeps no model."
    head, written = journal.head(), journal.value("results_of")
    if head != written:
        return [], (
            f"The saved model is that of turn {written or 0}, the run stands at turn {head}: "
            f"`ultraedit rollback {journal.path.parent} --to-turn {head}` saves it anew."
        )
    host, settings = open_host(journal, observer)
    progress = restore(host, settings.editor, journal, observer=observer)
    with host.viewed(settings.editor, progress.state):
        expected = fingerprint(host.language_model.model)
    observer.stage("Loading the saved model")
    # As the run had its model, which may be larger than the memory.
    loaded = ModelSource.of(settings)._replace(model=str(saved)).load()
    if fingerprint(loaded.model) == expected:
        turns = format_count(head, "turn")
        return [], f"The saved model is the unedited one plus the change of {turns}."
    problem = f"it is not the unedited model plus the change of turn {head}"
    return [Damage("model", problem)], "The saved model is another one."


def _unknown(journal: Journal) -> Iterator[str]:
    """Files that no record names: the user's own, or what a killed process left."""
    folder = journal.path.parent
    known = {file.path for file in journal.files()}
    names = [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and is_result(path.relative_to(folder))
    ]
    unknown = [name.as_posix() for name in names if name.as_posix() not in known]
    if unknown and journal.value("results_of") == journal.head():
        yield f"Not part of the run: {', '.join(unknown)}."

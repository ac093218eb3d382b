"""Back to any turn: its snapshot, or the one before it and the turns since, computed again.

A snapshot is checked before it is believed: it must hold what the journal says that its turn left.
"""

from __future__ import annotations

import logging
import math

from ultraedit.core.errors import StorageError
from ultraedit.core.types import (
    Carried,
    CheckpointRecord,
    Editor,
    NullObserver,
    Observer,
    Turn,
    TurnRecord,
)
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import Progress, norms, run_turns
from ultraedit.runs.store import Journal, StoredFile, digest, read_snapshot
from ultraedit.runs.store.random_state import restore_random_state

_log = logging.getLogger("ultraedit")

CLOSE = 1e-3
"""Relative distance of two norms up to which another machine's rounding may explain it."""

SAME = 1e-5
"""The same for the norm of a change that was stored: the sum of its squares alone is rounded."""


def restore(
    host: ModelHost,
    editor: Editor,
    journal: Journal,
    turn: int | None = None,
    observer: Observer | None = None,
) -> Progress:
    """Bring a model to where a run stood after a turn: weights, editor state and random state.

    On the machine of the run the outcome is the same to the last bit. A snapshot that does not hold
    what its turn left is passed over: the turns since the one before it are computed again.

    Args:
        host: The model, with the modules of the run; at any weights.
        editor: The run's editor.
        journal: The run.
        turn: The turn; 0 is the unedited model. None for the last active one.
        observer: Told of every turn that is computed again.

    Returns:
        Where the run stood.

    Raises:
        ConfigError: If there is no such turn.
        StorageError: If a snapshot is damaged, or the turns give other weights than they gave.
        KeyboardInterrupt: After Ctrl-C, once the turn at work is computed.
    """
    observer = observer or NullObserver()
    turn = journal.head() if turn is None else turn
    if turn:
        journal.turn(turn)
    progress = _from_snapshot(host, journal, turn)
    if progress is None:
        restore_random_state(bytes.fromhex(journal.value("random")))
        host.weights.reset()
        progress = Progress(editor.init(host))
    again = turn - progress.turns
    if again:
        observer.stage("Computing turns again", again)
        check = _Check(journal, observer)
        run_turns(host, editor, journal.turns_between(progress.turns, turn), check, progress)
    progress.turns = turn
    progress.edits = journal.turn(turn).record["total_edits"] if turn else 0
    progress.seconds = math.fsum(record["seconds"] for record in journal.records(turn))
    return progress


def problem_of(journal: Journal, saved: StoredFile, carried: Carried) -> str | None:
    """What is wrong with a snapshot by the digest on record; None if nothing, or there is none.

    Args:
        journal: The run.
        saved: The snapshot, of a turn that stands.
        carried: What it holds.
    """
    assert saved.turn is not None
    noted = journal.digest(saved.turn)
    if noted is None or digest(carried) == noted:
        return None
    return f"it does not hold what turn {saved.turn} left"


def wrong_norms(host: ModelHost, journal: Journal, turn: int) -> str | None:
    """What is wrong with a model by the norms on record of a turn; None if nothing.

    For the snapshots of a journal that was begun before there were digests.

    Args:
        host: The model, with the changes of a snapshot.
        journal: The run.
        turn: The turn whose snapshot it is.
    """
    noted = journal.turn(turn).record["norms"]
    for path, norm in norms(host).items():
        if abs(norm - noted[path]) > SAME * max(noted[path], 1e-30):
            return (
                f"it changes {path} by {norm:.6g} of its norm, and turn {turn} by {noted[path]:.6g}"
            )
    return None


def _from_snapshot(host: ModelHost, journal: Journal, turn: int) -> Progress | None:
    """Bring a model to the newest snapshot that holds what it should; None if there is none.

    Raises:
        StorageError: If it cannot be read, or a turn behind it cannot be computed again.
    """
    for saved in journal.snapshots_before(turn):
        assert saved.turn is not None
        carried = read_snapshot(journal.path.parent / saved.path)
        problem = problem_of(journal, saved, carried)
        if problem is None:
            host.weights.restore(carried.changes)
            if journal.digest(saved.turn) is None:
                problem = wrong_norms(host, journal, saved.turn)
        if problem is None:
            random = journal.random_state(saved.turn) or bytes.fromhex(journal.value("random"))
            restore_random_state(random)
            return Progress(carried.state, saved.turn)
        what = (
            f"The snapshot {journal.path.parent / saved.path} is not that of its turn: {problem}."
        )
        if journal.turn(saved.turn).kind == "revert":  # each has a snapshot, so none is crossed
            raise StorageError(
                f"{what} Turn {saved.turn} took edits out and cannot be computed again: go back "
                f"behind it with `ultraedit rollback {journal.path.parent} --to-turn "
                f"{saved.turn - 1}`."
            )
        _log.warning("%s The turns since the one before it are computed again.", what)
    return None


class _Check:
    """A recorder that compares each turn with what was recorded of it."""

    def __init__(self, journal: Journal, observer: Observer) -> None:
        self._journal = journal
        self._observer = observer
        self._warned = False

    def turn(self, record: TurnRecord, turn: Turn, carried: Carried) -> None:
        self._observer.advance()
        before = self._journal.turn(record.turn).record["norms"]
        worst = max(
            (abs(norm - before[path]) / max(before[path], 1e-30), path)
            for path, norm in record.norms.items()
        )
        if worst[0] > CLOSE:
            raise StorageError(
                f"Turn {record.turn} computed again changes {worst[1]} by another amount than it "
                f"did ({record.norms[worst[1]]:.6g} of its norm, not {before[worst[1]]:.6g}). The "
                "model, its tokenizer or a library has changed: use those in config.json."
            )
        if not self._warned and (worst[0] or not self._same(record.turn, carried)):
            self._warned = True
            _log.warning(
                "Turn %d computed again differs in the last digits (%.1e of the norm): this "
                "machine rounds differently from the one that computed it first.",
                record.turn,
                worst[0],
            )

    def _same(self, turn: int, carried: Carried) -> bool:
        """Whether a turn left the same bits, as far as that is on record."""
        return self._journal.digest(turn) in (None, digest(carried))

    def checkpoint(self, record: CheckpointRecord) -> None:
        raise AssertionError("Turns that are computed again are not evaluated.")

"""Back to any turn: its snapshot, or the one before it and the turns since, computed again."""

from __future__ import annotations

import logging
import math

from ultraedit.errors import StorageError
from ultraedit.host import ModelHost
from ultraedit.lifelong import Progress, run_turns
from ultraedit.store import Journal, read_snapshot
from ultraedit.store.randomness import restore_random_state
from ultraedit.types import Carried, CheckpointRecord, Editor, Nobody, Observer, Turn, TurnRecord

_log = logging.getLogger("ultraedit")

CLOSE = 1e-3
"""Relative distance of two norms up to which another machine's rounding may explain it."""


def restore(
    host: ModelHost,
    editor: Editor,
    journal: Journal,
    turn: int | None = None,
    observer: Observer | None = None,
) -> Progress:
    """Bring a model to where a run stood after a turn: weights, editor state and random state.

    On the machine of the run the outcome is the same to the last bit.

    Args:
        host: The model, with the modules of the run; at any weights.
        editor: The run's editor.
        journal: The run.
        turn: The turn; 0 is the unedited model. The last one that stands unless given.
        observer: Told of every turn that is computed again.

    Returns:
        Where the run stood.

    Raises:
        ConfigError: If there is no such turn.
        StorageError: If a snapshot is damaged, or the turns give other weights than they gave.
    """
    observer = observer or Nobody()
    turn = journal.head() if turn is None else turn
    if turn:
        journal.turn(turn)
    saved = journal.snapshot_before(turn)
    random = journal.value("random")
    restore_random_state(bytes.fromhex(random))
    host.weights.reset()
    if saved is None or saved.turn is None:
        progress = Progress(editor.init(host))
    else:
        carried = read_snapshot(journal.path.parent / saved.path)
        host.weights.restore(carried.changes)
        state_then = journal.random_state(saved.turn)
        if state_then is not None:
            restore_random_state(state_then)
        progress = Progress(carried.state, saved.turn)
    again = turn - progress.turns
    if again:
        observer.stage("Computing turns again", again)
        check = _Check(journal, observer)
        run_turns(host, editor, journal.turns_between(progress.turns, turn), check, progress)
    progress.turns = turn
    progress.edits = journal.turn(turn).record["total_edits"] if turn else 0
    progress.seconds = math.fsum(record["seconds"] for record in journal.records(turn))
    return progress


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
        if worst[0] and not self._warned:
            self._warned = True
            _log.warning(
                "Turn %d computed again differs in the last digits (%.1e of the norm): this "
                "machine rounds differently from the one that computed it first.",
                record.turn,
                worst[0],
            )

    def checkpoint(self, record: CheckpointRecord) -> None:
        raise AssertionError("Turns that are computed again are not evaluated.")

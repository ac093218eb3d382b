"""Take single edits out of a run: solve their turns again without them, keep what others did."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ultraedit import models
from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.core.types import (
    Carried,
    CheckpointRecord,
    Edit,
    Editor,
    NullObserver,
    Observer,
    Scores,
    State,
    Turn,
    TurnRecord,
    dense,
)
from ultraedit.data.streams import EditPanel, whole
from ultraedit.editors import find_editor
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.checkpoints import Evaluator
from ultraedit.lifelong.loop import MemoryRecorder, Progress, norms, peak_memory, run_turns
from ultraedit.lifelong.session import EditResult
from ultraedit.lifelong.settings import JobSettings
from ultraedit.runs import fact_summary as made
from ultraedit.runs.base_model import open_host
from ultraedit.runs.conclusion import conclude, refuse_interrupted, summarize
from ultraedit.runs.config import RunConfig
from ultraedit.runs.replay import restore
from ultraedit.runs.resolution import ResolvedSettings
from ultraedit.runs.scores import standing
from ultraedit.runs.store import Journal, RunFolder, StoredEdit
from ultraedit.runs.store.random_state import random_state, restore_random_state


class BeforeAndAfter(NamedTuple):
    """Scores of some edits around a revert."""

    edits: int
    before: Scores
    after: Scores


@dataclass(frozen=True)
class Reverted:
    """What taking edits out has done."""

    turn: int
    """The number under which it is on record."""
    taken_out: tuple[StoredEdit, ...]
    removed: BeforeAndAfter
    remaining: BeforeAndAfter | None
    """None if no edit remains."""


def revert(
    path: Path, names: Sequence[str], turn: int | None = None, observer: Observer | None = None
) -> Reverted:
    """Take single edits out of a run, and keep what all others did.

    Each turn with such an edit is solved once with and once without it, both from where the run
    stood before that turn; the difference is taken off the weights. What later turns added stays,
    and so do the editor's running statistics, which have seen the edits. Where changes do not add
    up, as with WISE and in-context, all turns since the first of these edits are made again without
    them.

    Args:
        path: The run folder.
        names: Ids of the edits, or their prompts, or parts of these.
        turn: Their turn, where an id occurs in several.
        observer: Receives progress updates.

    Raises:
        UltraEditError: If there is no such edit, or the folder or the model cannot be used.
    """
    observer = observer or NullObserver()
    folder = RunFolder.open(path)
    try:
        refuse_interrupted(folder)
        chosen = find_edits(folder.journal, names, turn)
        return _revert(folder, chosen, observer)
    finally:
        folder.close()


def find_edits(journal: Journal, names: Sequence[str], turn: int | None) -> list[StoredEdit]:
    """Look edits up by their ids; what is no id is a prompt, or a part of one.

    Raises:
        ConfigError: If one is not there, was taken out before, or is there more than once.
    """
    path = journal.path.parent
    chosen: list[StoredEdit] = []
    for name in dict.fromkeys(names):
        with_id = [each for each in journal.edits_named(name) if turn in (None, each.turn)]
        if not with_id and (asked := _of_prompt(journal, name, turn)):
            chosen += [each for each in asked if each not in chosen]
            continue
        standing = [each for each in with_id if each.reverted_by is None]
        if not standing:
            gone = f" Turn {with_id[0].reverted_by} took it out." if with_id else ""
            where = "" if turn is None else f" in turn {turn}"
            raise ConfigError(
                f"No edit with the id {name!r} holds{where} in {path}.{gone} "
                f"`ultraedit find {path} TEXT` gives the ids of edits with a text."
            )
        if len(standing) > 1:
            places = ", ".join(str(number) for number in sorted({e.turn for e in standing}))
            advice = "Say which with --turn." if turn is None else "They cannot be told apart."
            raise ConfigError(
                f"{len(standing)} edits have the id {name!r}, in turns {places}. {advice}"
            )
        chosen += standing
    return chosen


def _of_prompt(journal: Journal, text: str, turn: int | None) -> list[StoredEdit]:
    """The active edit whose prompt is a text, or the only one that has it in its prompt.

    Raises:
        ConfigError: If several have it, and none is it.
    """
    text = text.strip()
    folded = text.casefold()
    edits = [
        each
        for each in journal.find(text)
        if each.reverted_by is None
        and each.undone is None
        and turn in (None, each.turn)
        and folded in each.edit.prompt.casefold()
    ]
    whole = [each for each in edits if each.edit.prompt.casefold().strip() == folded]
    if len(whole) == 1 or len(edits) < 2:
        return whole or edits
    ids = ", ".join(repr(each.edit.id) for each in (whole or edits)[:5])
    raise ConfigError(
        f"{len(whole or edits)} edits have {text!r} in their prompts, with the ids {ids}"
        f"{', ...' if len(whole or edits) > 5 else ''}. Give the id of one, or more of its prompt."
    )


def _revert(folder: RunFolder, chosen: Sequence[StoredEdit], observer: Observer) -> Reverted:
    journal = folder.journal
    host, settings = open_host(journal, observer)
    rows = {each.row for each in chosen}
    forced = JobSettings(free_answers=0, control_questions=0)
    removed = _Group(host, whole([each.edit for each in chosen]), forced, observer)
    remaining = _remaining(host, journal, settings.config, rows, observer)
    left = journal.holding() - len(rows)
    progress = restore(host, settings.editor, journal, observer=observer)
    with host.viewed(settings.editor, progress.state):
        before = removed.score(), remaining.score() if remaining else None
    started = time.perf_counter()
    stood = host.weights.snapshot()
    if find_editor(journal.value("settings")["editor"]).beside:
        progress.state = _without(host, settings.editor, journal, rows, observer)
    else:
        share = _share(host, settings.editor, journal, chosen, observer)
        host.weights.restore({path: change - share[path] for path, change in stood.items()})
    record = TurnRecord(
        turn=progress.turns + 1,
        edits=len(chosen),
        total_edits=left,
        seconds=time.perf_counter() - started,
        memory_bytes=peak_memory(),
        norms=norms(host),
    )
    folder.revert(record, tuple(sorted(rows)), Carried(host.weights.changes, progress.state))
    progress.turns, progress.edits = record.turn, record.total_edits
    with host.viewed(settings.editor, progress.state):
        gone = removed.score()
    result = _conclude(folder, host, settings, progress, remaining, observer)
    return Reverted(
        record.turn,
        tuple(chosen),
        BeforeAndAfter(len(chosen), before[0].scores, gone.scores),
        BeforeAndAfter(result.scored, before[1].scores, result.after.scores)
        if before[1] and result
        else None,
    )


def is_unfinished(journal: Journal) -> bool:
    """Whether the last turn took edits out and its process ended before the results were there."""
    head = journal.head()
    return (
        head > 0
        and journal.turn(head).kind == "revert"
        and journal.value("results_of") != head
        and journal.job().ended is not None
    )


def finish_revert(
    folder: RunFolder, observer: Observer
) -> tuple[EditResult, dict[str, Any]] | None:
    """Score a run whose last turn took edits out, and leave its results.

    Args:
        folder: The run, where `is_unfinished` holds.
        observer: Receives progress updates.

    Returns:
        The outcome and its summary; None if no edit remains.

    Raises:
        UltraEditError: If the folder or the model cannot be used.
    """
    journal = folder.journal
    host, settings = open_host(journal, observer)
    remaining = _remaining(host, journal, settings.config, set(), observer)
    progress = restore(host, settings.editor, journal, observer=observer)
    result = _conclude(folder, host, settings, progress, remaining, observer)
    if result is None:
        return None
    return result, summarize(settings, result, folder)


def _remaining(
    host: ModelHost,
    journal: Journal,
    config: RunConfig,
    without: Collection[int],
    observer: Observer,
) -> _Group | None:
    """The edits that remain, asked of the unedited model, which the host must hold, if any do."""
    panel = standing(journal, without=without)
    return _Group(host, panel, config, observer) if panel.edits else None


def _conclude(
    folder: RunFolder,
    host: ModelHost,
    settings: ResolvedSettings,
    progress: Progress,
    remaining: _Group | None,
    observer: Observer,
) -> EditResult | None:
    """Score the edits that remain and leave the results of a revert; None if there are none."""
    saved = (folder.path / "model").is_dir()
    folder.drop_results()
    folder.write_records()
    if remaining is None:
        if saved:
            with host.viewed(settings.editor, progress.state):
                models.save(host.language_model, folder.path / "model")
        folder.seal()
        return None
    asked = time.perf_counter()
    with host.viewed(settings.editor, progress.state):
        after = remaining.score()
    folder.checkpoint(
        CheckpointRecord(
            turn=progress.turns,
            edits=remaining.size,
            overruled=after.overruled,
            seconds=time.perf_counter() - asked,
            scores=after.scores,
            controls=after.controls,
        )
    )
    result = EditResult(
        *(host, settings.editor, remaining.base, after, (), progress, remaining.size),
        probed=remaining.remarks,
    )
    panel = remaining.panel
    said = made.remarks((each.edit for each in folder.journal.standing()), panel)
    summary = summarize(settings, result, folder, said)
    conclude(folder, summary, result, observer, save_model=saved)
    return result


class _Group:
    """Some edits that are scored together, against what the unedited model says."""

    def __init__(
        self, host: ModelHost, panel: EditPanel, settings: JobSettings, observer: Observer
    ) -> None:
        """Ask the unedited model, which the host must hold now."""
        self.panel = panel
        self._evaluator = Evaluator(host, panel, settings, observer)
        self.base = self._evaluator.evaluate()

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.panel.edits)

    @property
    def remarks(self) -> Mapping[str, str]:
        """By name of a probe what has to be said of it."""
        return self._evaluator.remarks

    def score(self) -> Evaluation:
        """Ask the model as it stands."""
        return self._evaluator.evaluate(self.base.reference)


def _share(
    host: ModelHost,
    editor: Editor,
    journal: Journal,
    chosen: Sequence[StoredEdit],
    observer: Observer,
) -> dict[str, Tensor]:
    """What the chosen edits have put into each weight: their turns with them, less without them.

    Leaves the host where the run stood before the last of these turns.
    """
    rows = {each.row for each in chosen}
    share = {path: change.zero_() for path, change in host.weights.snapshot().items()}
    for number in sorted({each.turn for each in chosen}):
        progress = restore(host, editor, journal, number - 1, observer)
        present = [each for each in journal.turn_edits(number) if each.reverted_by is None]
        random = random_state()
        for sign, edits in (
            (1, [each.edit for each in present]),
            (-1, [each.edit for each in present if each.row not in rows]),
        ):
            restore_random_state(random)
            for path, change in _solve(host, editor, number, edits, progress.state).items():
                share[path].add_(change, alpha=sign)
    return share


def _without(
    host: ModelHost, editor: Editor, journal: Journal, rows: set[int], observer: Observer
) -> State:
    """Bring a model to where the run would stand if some edits had never been made.

    For an editor whose edits are not what its turns add to the weights: all turns since the first
    of these edits are made again without them, and without those that were taken out before.

    Returns:
        The editor's state.
    """
    left: list[Turn] = []
    for number in range(1, journal.head() + 1):
        edits = journal.turn_edits(number)
        kept = [e.edit for e in edits if e.reverted_by is None and e.row not in rows]
        if left or len(kept) < len(edits):
            left.append(Turn(number, tuple(kept)))
    progress = restore(host, editor, journal, left[0].number - 1, observer)
    made = [turn for turn in left if turn.edits]
    observer.stage("Making turns again", len(made))
    run_turns(host, editor, made, MemoryRecorder(), progress, lambda *_: observer.advance())
    return progress.state


def _solve(
    host: ModelHost, editor: Editor, number: int, edits: Sequence[Edit], state: State
) -> dict[str, Tensor]:
    """The changes of a turn, dense. None of no edits."""
    if not edits:
        return {}
    try:
        patch, _ = editor.step(host, Turn(number, tuple(edits)), state)
    except NumericalError as error:
        raise NumericalError(f"Turn {number} without the edits: {error}") from error
    return {path: dense(change) for path, change in patch.changes.items()}

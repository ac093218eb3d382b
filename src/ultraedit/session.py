"""Edit a loaded model from Python: the same job that ``ultraedit run`` does, without a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ultraedit.editors import name_of
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.errors import ConfigError, DataError
from ultraedit.evaluate import Evaluation, Reference, evaluate
from ultraedit.host import ModelHost
from ultraedit.lifelong import MemoryRecorder, Progress, run_turns
from ultraedit.metrics import turn_means
from ultraedit.models import Preset, find_preset, save
from ultraedit.models.generation import generate
from ultraedit.models.preset import NO_PRESET
from ultraedit.second_moments import PROMPTS, OfPrompts, Statistics
from ultraedit.types import (
    Carried,
    CheckingEditor,
    CheckpointRecord,
    Edit,
    Editor,
    Nobody,
    Observer,
    Recorder,
    RemarkingEditor,
    Turn,
    TurnRecord,
    turns,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ultraedit.models import LanguageModel


@dataclass(frozen=True)
class EditResult:
    """An edited model, and how it did before and after."""

    host: ModelHost
    editor: Editor
    before: Evaluation
    after: Evaluation
    turns: tuple[TurnRecord, ...]
    progress: Progress
    scored: int
    """Number of edits that the scores are of."""

    @property
    def language_model(self) -> LanguageModel:
        """The edited model."""
        return self.host.language_model

    @property
    def remarks(self) -> dict[str, str]:
        """What the editor has to say about how it worked, by what it is about."""
        if isinstance(self.editor, RemarkingEditor):
            return dict(self.editor.remarks(self.host, self.progress.state))
        return {}

    def save(self, folder: str | PathLike[str]) -> None:
        """Save the edited model where plain transformers can load it.

        Raises:
            StorageError: If it cannot be written whole.
        """
        with self.host.viewed(self.editor, self.progress.state):
            save(self.language_model, Path(folder))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a list of edits is cut into turns, and when the model is scored."""

    edits_per_turn: int = 100
    evaluate_every: int | None = None
    """Score all edits so far after every so many turns; None for the end alone."""
    evaluate_at: tuple[int, ...] = ()
    """Score all edits so far after these turns."""
    free_answers: int | None = None
    """How many edits are also asked freely, before and after all turns; None for all."""

    def __post_init__(self) -> None:
        """Refuse what no schedule can be.

        Raises:
            ConfigError: If a number is too small.
        """
        for name in ("edits_per_turn", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}.")

    def is_due(self, turn: int) -> bool:
        """Whether a checkpoint belongs after a turn that is not the last."""
        every = self.evaluate_every is not None and turn % self.evaluate_every == 0
        return every or turn in self.evaluate_at


def edit(
    language_model: LanguageModel,
    edits: Sequence[Edit],
    editor: Editor | None = None,
    *,
    modules: Sequence[str] | None = None,
    edits_per_turn: int = 100,
    evaluate_every: int | None = None,
    free_answers: int | None = None,
    statistics: Statistics | None = None,
    recorder: Recorder | None = None,
    observer: Observer | None = None,
) -> EditResult:
    """Write facts into a model's weights, turn after turn, and score it before and after.

    Args:
        language_model: The model, from `load`. Its weights change in place.
        edits: The facts, in the order in which they become true.
        editor: The method. None takes UltraEdit with the settings of the model's preset.
        modules: Patterns of the modules to edit. None takes those of the model's preset.
        edits_per_turn: How many edits are applied together. The last turn may be short.
        evaluate_every: Score all edits so far after every so many turns; None for the end alone.
        free_answers: How many edits are also asked freely; None for all, 0 for none.
        statistics: Where editors that need second moments of the layers' inputs have them from.
            None takes the prompts of the first edits.
        recorder: Told of every turn and evaluation as it happens.
        observer: Told how far the job is.

    Returns:
        The edited model with its scores, records and the state that a next turn would need.

    Raises:
        DataError: If there is no edit, or one is longer than the model's context.
        ConfigError: If a pattern matches nothing that can be edited.
        NumericalError: If a turn's update is not finite; the turns before it stay applied.
    """
    schedule = Schedule(
        edits_per_turn=edits_per_turn, evaluate_every=evaluate_every, free_answers=free_answers
    )
    if editor is None or modules is None:
        preset = choose_preset(
            language_model, None, modules, name_of(getattr(editor, "inner", editor))
        )
        modules = preset.modules if modules is None else modules
        if editor is None:
            editor = UltraEdit(eta=preset.eta or "auto", ridge=preset.ridge)
    edits = list(edits)
    statistics = statistics or OfPrompts([edit.prompt for edit in edits[:PROMPTS]])
    host = ModelHost(language_model, modules, getattr(editor, "master", "float32"), statistics)
    return carry_out(host, editor, edits, schedule, recorder=recorder, observer=observer)


def carry_out(
    host: ModelHost,
    editor: Editor,
    edits: Sequence[Edit],
    schedule: Schedule,
    *,
    done: int = 0,
    before: Evaluation | None = None,
    asked: Callable[[Evaluation], None] | None = None,
    start: Callable[[], Progress] | None = None,
    recorder: Recorder | None = None,
    observer: Observer | None = None,
) -> EditResult:
    """Make a list of edits, from the beginning or from where it was interrupted.

    Args:
        host: The model, unedited.
        editor: The method.
        edits: All edits of the list.
        schedule: How to cut them, and when to score.
        done: How many of them an earlier process has made.
        before: What the unedited model says, if it was asked before.
        asked: Told what it says, if it is asked now.
        start: Brings the model to where that process, or an earlier list, left it, and says
            where that is. Called after the unedited model was asked. None starts anew.
        recorder: Told of every turn and evaluation as it happens.
        observer: Told how far the job is.

    Returns:
        The edited model with its scores, and records of the turns that were made here.

    Raises:
        DataError: If there is no edit, or one is longer than the model's context.
        NumericalError: If a turn's update is not finite; the turns before it stay applied.
        KeyboardInterrupt: After Ctrl-C, once the turn at work is recorded.
    """
    edits = list(edits)
    if not edits:
        raise DataError("There is no edit to make.")
    observer = observer or Nobody()
    kept = MemoryRecorder()
    recorders: list[Recorder] = [kept] if recorder is None else [kept, recorder]

    both = _Both(recorders)

    def check(
        turn: int, seen: Sequence[Edit], reference: Reference | None, *, free: bool
    ) -> Evaluation:
        begun = time.perf_counter()
        free_answers = schedule.free_answers if free else 0
        found = evaluate(
            host, seen, reference=reference, free_answers=free_answers, observer=observer
        )
        record = CheckpointRecord(
            turn=turn,
            edits=len(seen),
            overruled=found.overruled,
            seconds=time.perf_counter() - begun,
            scores=found.scores,
            by_turn=_by_turn(found, schedule) if turn else {},
            first_turn=first_turn if turn else 1,
        )
        both.checkpoint(record)
        return found

    if isinstance(editor, CheckingEditor):
        editor.check(edits)
    if before is None:
        before = check(0, edits, None, free=True)
        if asked is not None:
            asked(before)
    reference = before.reference
    progress = Progress(editor.init(host)) if start is None else start()
    earlier = progress.edits - done
    first_turn = progress.turns + 1 - -(-done // schedule.edits_per_turn)

    def check_if_due(turn: int) -> None:
        made = progress.edits - earlier
        if done <= made < len(edits) and made and schedule.is_due(turn):
            with host.viewed(editor, progress.state):
                check(turn, edits[:made], reference, free=False)
            observer.stage("Editing", len(edits) - made)

    def after_turn(turn: Turn, _: Progress) -> None:
        observer.advance(len(turn.edits))
        check_if_due(turn.number)

    check_if_due(progress.turns)  # an interrupted run may have stopped just before it
    observer.stage("Editing", len(edits) - done)
    left = turns(edits[done:], schedule.edits_per_turn, progress.turns + 1)
    run_turns(host, editor, left, both, progress, after_turn)
    with host.viewed(editor, progress.state):
        after = check(progress.turns, edits, reference, free=True)
    return EditResult(host, editor, before, after, tuple(kept.turns), progress, len(edits))


def _by_turn(found: Evaluation, schedule: Schedule) -> dict[str, tuple[float | None, ...]]:
    """Scores by name, averaged over the edits of each turn."""
    size = schedule.edits_per_turn
    return {name: turn_means(scores, size) for name, scores in found.by_edit.items()}


class _Both:
    """Several recorders as one."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = recorders

    def turn(self, record: TurnRecord, turn: Turn, carried: Carried) -> None:
        for each in self._recorders:
            each.turn(record, turn, carried)

    def checkpoint(self, record: CheckpointRecord) -> None:
        for each in self._recorders:
            each.checkpoint(record)


def choose_preset(
    model: LanguageModel | PretrainedConfig,
    data_format: str | None,
    modules: Sequence[str] | None,
    editor: str | None = None,
) -> Preset:
    """Find the preset of a model, which only has to know its modules where the user does not.

    Args:
        model: The model, or its config.
        data_format: Name of the data format, such as ``zsre``; None for no particular one.
        modules: Patterns that the user chose; None where the preset chooses.
        editor: Name of the editor; None for UltraEdit.

    Raises:
        ConfigError: If nobody knows which modules to edit.
    """
    try:
        return find_preset(model, data_format, editor)
    except ConfigError:
        if modules is None:
            raise
        return Preset(NO_PRESET, tuple(modules), None, 1.0, "no preset for this model")


def ask(language_model: LanguageModel, question: str, *, max_new_tokens: int = 32) -> str:
    """Let a model answer one question, greedily, to the end of the line.

    Raises:
        DataError: If the question is empty, no text, or longer than the model's context.
    """
    if not question.strip():
        raise DataError("The question is empty. Write it in quotes after the model.")
    try:
        question.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"The question is not UTF-8: {question!r}.") from None
    return generate(language_model, [question], max_new_tokens=[max_new_tokens])[0]

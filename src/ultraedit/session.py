"""Edit a loaded model from Python: the same job that ``ultraedit run`` does, without a folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from ultraedit.models import Preset, find_preset, save
from ultraedit.models.generation import generate
from ultraedit.second_moments import PROMPTS, OfPrompts, Statistics
from ultraedit.types import (
    CheckpointRecord,
    Edit,
    Editor,
    Nobody,
    Observer,
    Recorder,
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

    language_model: LanguageModel
    before: Evaluation
    after: Evaluation
    turns: tuple[TurnRecord, ...]
    progress: Progress

    def save(self, folder: str | PathLike[str]) -> None:
        """Save the edited model where plain transformers can load it.

        Raises:
            StorageError: If it cannot be written whole.
        """
        save(self.language_model, Path(folder))


def edit(
    language_model: LanguageModel,
    edits: Sequence[Edit],
    editor: Editor | None = None,
    *,
    modules: Sequence[str] | None = None,
    edits_per_turn: int = 100,
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
    edits = list(edits)
    if not edits:
        raise DataError("There is no edit to make.")
    if edits_per_turn < 1:
        raise ConfigError(f"edits_per_turn must be at least 1, got {edits_per_turn}.")
    if editor is None or modules is None:
        preset = choose_preset(
            language_model, None, modules, name_of(getattr(editor, "inner", editor))
        )
        modules = preset.modules if modules is None else modules
        if editor is None:
            editor = UltraEdit(eta=preset.eta or "auto", ridge=preset.ridge)
    statistics = statistics or OfPrompts([edit.prompt for edit in edits[:PROMPTS]])
    host = ModelHost(language_model, modules, getattr(editor, "master", "float32"), statistics)
    observer = observer or Nobody()
    kept = MemoryRecorder()
    recorders: list[Recorder] = [kept] if recorder is None else [kept, recorder]

    def check(turn: int, seen: Sequence[Edit], reference: Reference | None) -> Evaluation:
        start = time.perf_counter()
        found = evaluate(
            host, seen, reference=reference, free_answers=free_answers, observer=observer
        )
        record = CheckpointRecord(
            turn=turn,
            edits=len(seen),
            overruled=found.overruled,
            seconds=time.perf_counter() - start,
            scores=found.scores,
        )
        for each in recorders:
            each.checkpoint(record)
        return found

    def after_turn(turn: Turn, _: Progress) -> None:
        for each in recorders[1:]:
            each.turn(kept.turns[-1])
        observer.advance(len(turn.edits))

    before = check(0, edits, None)
    observer.stage("Editing", len(edits))
    progress = run_turns(host, editor, turns(edits, edits_per_turn), kept, after_turn=after_turn)
    after = check(progress.turns, edits, before.reference)
    return EditResult(language_model, before, after, tuple(kept.turns), progress)


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
        return Preset("none", tuple(modules), None, 1.0, "no preset for this model")


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

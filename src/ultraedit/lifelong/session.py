"""Edit a loaded model from Python: the same job that ``ultraedit run`` does, without a folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import DataError
from ultraedit.core.types import (
    Carried,
    CheckpointRecord,
    Edit,
    Editor,
    NewestScores,
    Nobody,
    Observer,
    Recorder,
    RemarkingEditor,
    Turn,
    TurnRecord,
    to_json,
    turns,
    write_rephrases,
)
from ultraedit.data import general_questions as general
from ultraedit.data import streams as stream
from ultraedit.data.streams import Background, InMemory, Source, Tokenised, tokenised
from ultraedit.editors import DEFAULT_EDITOR, make_editor, name_of
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation.monitors import Halted, Watch
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.evaluation.probes import chosen
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import PROMPTS, OfPrompts, Statistics
from ultraedit.lifelong.checkpoints import Checked, Checkpoints, Newest, Schedule
from ultraedit.lifelong.loop import MemoryRecorder, Progress, run_turns
from ultraedit.models import Preset, choose_preset, save
from ultraedit.models.generation import generate

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel
    from ultraedit.report import Verdict


CONTROL_QUESTIONS = 100
"""So many of the package's 200 control questions are asked unless somebody says otherwise."""

_log = logging.getLogger("ultraedit")


@dataclass(frozen=True)
class EditResult:
    """An edited model, and how it did before and after."""

    host: ModelHost
    editor: Editor
    before: Evaluation
    after: Evaluation
    turns: tuple[TurnRecord, ...]
    """Records of the turns; none of a run that has them in its folder."""
    progress: Progress
    scored: int
    """Number of edits that the scores are of."""
    newest: NewestScores | None = None
    """Scores of the edits that were made last, where they were asked for."""
    halted: str | None = None
    """Why a guard ended the run; None if none did."""
    probed: Mapping[str, str] = field(default_factory=dict)
    """By name of a probe what has to be said of it, such as that it was left out."""

    @property
    def language_model(self) -> LanguageModel:
        """The edited model, as the next turn finds it.

        What an editor with a `view` lays over it, such as the memories of WISE, is on it inside
        ``host.viewed(editor, progress.state)`` and in what `save` writes.
        """
        return self.host.language_model

    @property
    def remarks(self) -> dict[str, str]:
        """What has to be said about how it went, by what it is about."""
        found = {} if self.halted is None else {"guard": self.halted}
        found |= self.probed
        if isinstance(self.editor, RemarkingEditor):
            found |= self.editor.remarks(self.host, self.progress.state)
        return found

    @property
    def verdict(self) -> Verdict:
        """What came of it, in words for somebody who has to decide whether to use the model."""
        from ultraedit.report import judge  # Reports draw; editing needs none of that.

        return judge(self.outcome, self.after.answers)

    @property
    def outcome(self) -> dict[str, Any]:
        """The scores before and after as plain values, as ``summary.json`` has them."""
        controls = {"before": self.before.controls, "after": self.after.controls}
        return {
            "before": to_json(self.before.scores),
            "after": to_json(self.after.scores),
            "controls": {
                when: None if scores is None else to_json(scores)
                for when, scores in controls.items()
            },
        }

    def save(self, folder: str | PathLike[str]) -> None:
        """Save the edited model where plain transformers can load it.

        Raises:
            StorageError: If it cannot be written whole.
        """
        with self.host.viewed(self.editor, self.progress.state):
            save(self.language_model, Path(folder))


def edit(
    language_model: LanguageModel,
    edits: Sequence[Edit],
    editor: Editor | None = None,
    *,
    modules: Sequence[str] | None = None,
    edits_per_turn: int = 100,
    evaluate_every: int | None = None,
    use_rephrases: int = 0,
    free_answers: int | None = None,
    probes: Sequence[str] = (),
    chat_answers: bool = False,
    control_questions: int = CONTROL_QUESTIONS,
    statistics: Statistics | None = None,
    recorder: Recorder | None = None,
    observer: Observer | None = None,
) -> EditResult:
    """Write facts into a model's weights, turn after turn, and score it before and after.

    Args:
        language_model: The model, from `load`. Its weights change in place.
        edits: The facts, in the order in which they become true.
        editor: The method. None takes `Anchored`, which needs no settings.
        modules: Patterns of the modules to edit. None takes those of the model's preset.
        edits_per_turn: How many edits are applied together. The last turn may be short.
        evaluate_every: Score all edits so far after every so many turns; None for the end alone.
        use_rephrases: How many rephrases of each fact are edited on too, and then not scored.
        free_answers: How many edits are also asked freely; None for all, 0 for none.
        probes: Probes of real use, of `chat`, `few-shot`, `reverse` and `negation`, or `all`.
        chat_answers: Whether these are asked in the model's chat template too, where it has one.
        control_questions: How many of the package's 200 questions that have nothing to do with any
            edit are asked, to see what else has changed; 0 for none.
        statistics: Where editors that need second moments of the layers' inputs have them from.
            None takes the prompts of the first edits.
        recorder: Told of every turn and evaluation as it happens.
        observer: Told how far the job is.

    Returns:
        The edited model with its scores, records and the state that a next turn would need.

    Raises:
        DataError: If there is no edit, or one is longer than the model's context.
        ConfigError: If a pattern matches nothing that can be edited, or there is no such probe.
        NumericalError: If a turn's update is not finite; the turns before it stay applied.
    """
    schedule = Schedule(
        edits_per_turn=edits_per_turn,
        evaluate_every=evaluate_every,
        free_answers=free_answers,
        probes=chosen(probes),
        chat_answers=chat_answers,
        controls=asked_controls(control_questions),
    )
    editor = make_editor(DEFAULT_EDITOR, {}) if editor is None else editor
    preset = choose_preset(language_model, None, modules, name_of(getattr(editor, "inner", editor)))
    modules = preset.modules if modules is None else modules
    _warn_of_step(editor, preset, language_model.name)
    edits = [write_rephrases(each, use_rephrases) for each in edits]
    stream.check(editor, InMemory(edits))
    statistics = statistics or OfPrompts([edit.prompt for edit in edits[:PROMPTS]])
    host = ModelHost(language_model, modules, getattr(editor, "master", "float32"), statistics)
    kept = MemoryRecorder()
    both = kept if recorder is None else _Both([kept, recorder])
    result = carry_out(host, editor, InMemory(edits), schedule, recorder=both, observer=observer)
    return replace(result, turns=tuple(kept.turns))


def _warn_of_step(editor: Editor, preset: Preset, model: str) -> None:
    """Say so where UltraEdit has the paper's step and the model is known to need another."""
    if not isinstance(editor, UltraEdit) or editor.eta != UltraEdit.eta:
        return
    if preset.eta is None or preset.eta != editor.eta:
        better = '"auto"' if preset.eta is None else f"{preset.eta:g}"
        warnings.warn(
            f"UltraEdit() has the step of the paper's models, eta={editor.eta:g}, which writes "
            f"next to nothing into {model}: take UltraEdit(eta={better}), or no editor at all.",
            stacklevel=3,
        )


def asked_controls(count: int) -> tuple[str, ...]:
    """The first so many of the package's control questions, which cover all their kinds."""
    return tuple(control.prompt for control in general.controls()[:count])


def carry_out(
    host: ModelHost,
    editor: Editor,
    source: Source,
    schedule: Schedule,
    *,
    done: int = 0,
    first_turn: int = 1,
    before: Evaluation | None = None,
    asked: Callable[[Evaluation], None] | None = None,
    start: Callable[[], Progress] | None = None,
    newest: Newest | None = None,
    watch: Watch | None = None,
    take_back: Callable[[str], Progress] | None = None,
    halted: str | None = None,
    recorder: Recorder | None = None,
    observer: Observer | None = None,
) -> EditResult:
    """Make the edits of a job, from the beginning or from where it was interrupted.

    They are read and tokenised by a thread while the model is at work on those before them. No more
    of them are held than a few turns, the panel and the newest.

    Args:
        host: The model, unedited.
        editor: The method.
        source: All edits of the job, and which of them are scored.
        schedule: How to cut them, and when to score.
        done: How many of them an earlier process has made.
        first_turn: Turn of the first of them.
        before: What the unedited model says, if it was asked before.
        asked: Told what it says, if it is asked now.
        start: Brings the model to where that process, or an earlier list, left it, and says
            where that is. Called after the unedited model was asked. None starts anew.
        newest: Where the last edit made of a prompt is looked up. None reads the source again.
        watch: What else is looked at whenever the model is scored, and the guard that may end it.
        take_back: Brings the model and its record to the turn before the last, where the guard is
            to do that, and records why. None leaves the last turn as it is.
        halted: Why an earlier process took a turn back and would have made no more. The model is
            then scored where it stands.
        recorder: Told of every turn and evaluation as it happens.
        observer: Told how far the job is.

    Returns:
        The edited model with its scores.

    Raises:
        DataError: If there is no edit, or one is longer than the model's context.
        NumericalError: If a turn's update is not finite; the turns before it stay applied.
        KeyboardInterrupt: After Ctrl-C, once the turn at work is recorded.
    """
    total = source.total
    if not total:
        raise DataError("There is no edit to make.")
    for sentence in stream.oddities(source, host.language_model.tokenizer):
        _log.warning("%s", sentence)
    observer = observer or Nobody()
    recorder = recorder or MemoryRecorder()
    checkpoints = Checkpoints(
        *(host, source, schedule, recorder, observer),
        newest=newest,
        done=done,
        first_turn=first_turn,
        watch=watch,
    )
    if before is None:
        before = checkpoints.unedited()
        if asked is not None:
            asked(before)
    reference = before.reference
    progress = Progress(editor.init(host)) if start is None else start()
    earlier = progress.edits - done

    def check_if_due() -> None:
        made = progress.edits - earlier
        if 0 < made < total and schedule.is_due(progress.turns):
            with host.viewed(editor, progress.state):
                found = checkpoints.edited(progress.turns, made, reference, free=False)
            if (why := checkpoints.breach(found, before)) is not None:
                raise Halted(why)
            observer.stage("Editing", total - made)

    def after_turn(turn: Turn, _: Progress) -> None:
        checkpoints.made(turn.edits)
        observer.advance(len(turn.edits))
        check_if_due()

    def make_all() -> None:
        check_if_due()  # an interrupted run may have stopped just before it
        observer.stage("Editing", total - done)
        cut = turns(source.after(done), schedule.edits_per_turn, progress.turns + 1)
        with Background(tokenised(cut, host.encode, done)) as ready:
            run_turns(host, editor, _expected(host, ready), recorder, progress, after_turn)

    def check_last() -> Checked:
        with host.viewed(editor, progress.state):
            made = progress.edits - earlier
            return checkpoints.edited(progress.turns, made, reference, free=True)

    def make_and_check() -> tuple[Checked | None, str | None]:
        """What the last checkpoint saw, if it was made, and why the guard ends the job."""
        try:
            make_all()
            host.expect({})
            seen = check_last()
            return seen, checkpoints.breach(seen, before)
        except Halted as halt:
            host.expect({})
            return None, str(halt)

    after, why = (None, None) if halted is not None else make_and_check()
    ended = halted if why is None else f"ended after turn {progress.turns}: {why}"
    if why is not None and take_back is not None:
        if progress.turns > 1:
            ended = f"turn {progress.turns} was taken back: {why}"
            progress = take_back(ended)
            checkpoints.stand_at(progress.edits - earlier)
            after = None
        else:
            ended = f"ended after turn 1, since the first turn is not taken back: {why}"
    after = check_last() if after is None else after
    return EditResult(
        host=host,
        editor=editor,
        before=before,
        after=after.panel,
        turns=(),
        progress=progress,
        scored=len(source.panel.made(progress.edits - earlier)),
        newest=after.newest,
        halted=ended,
        probed=checkpoints.probing.remarks,
    )


def _expected(host: ModelHost, ready: Iterable[Tokenised]) -> Iterator[Turn]:
    """The turns, each with its tokens laid out for the host."""
    for turn, tokens in ready:
        host.expect(tokens)
        yield turn


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

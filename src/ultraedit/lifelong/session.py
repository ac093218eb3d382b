"""Edit a loaded model from Python: the same job that ``ultraedit run`` does, without a folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import (
    Carried,
    CheckpointRecord,
    Edit,
    Editor,
    NewestScores,
    NullObserver,
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
from ultraedit.data.streams import Background, EditSource, InMemory, TokenizedTurn, tokenized_turns
from ultraedit.editors import DEFAULT_EDITOR, make_editor, name_of
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation.monitors import Halted, Watch
from ultraedit.evaluation.outcome import Evaluation
from ultraedit.evaluation.probes.contexts import chat_of
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import PROMPTS, OfPrompts, Statistics
from ultraedit.lifelong.checkpoints import Checked, Checkpoints, Newest
from ultraedit.lifelong.loop import MemoryRecorder, Progress, run_turns
from ultraedit.lifelong.settings import CONTROL_QUESTIONS, JobSettings
from ultraedit.models import Preset, choose_preset, save
from ultraedit.models.generation import generate

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel
    from ultraedit.report import Verdict


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
        remarks = {} if self.halted is None else {"guard": self.halted}
        remarks |= self.probed
        if isinstance(self.editor, RemarkingEditor):
            remarks |= self.editor.remarks(self.host, self.progress.state)
        return remarks

    @property
    def verdict(self) -> Verdict:
        """The result, in words for somebody who has to decide whether to use the model."""
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
        free_answers: How many edits are also asked in free generation; None for all, 0 for none.
        probes: Probes of real use, of `chat`, `few-shot`, `reverse` and `negation`, or `all`.
        chat_answers: Whether these are asked in the model's chat template too, where it has one.
        control_questions: How many of the package's 200 questions that have nothing to do with any
            edit are asked, to see what else has changed; 0 for none.
        statistics: Where editors that need second moments of the layers' inputs have them from.
            None takes the prompts of the first edits.
        recorder: Told of every turn and evaluation as it happens.
        observer: Receives progress updates.

    Returns:
        The edited model with its scores, records and the state that a next turn would need.

    Raises:
        DataError: If there is no edit, or one is longer than the model's context.
        ConfigError: If a pattern matches nothing that can be edited, or there is no such probe.
        NumericalError: If a turn's update is not finite; the turns before it stay applied.
    """
    settings = JobSettings(
        edits_per_turn=edits_per_turn,
        evaluate_every=evaluate_every,
        free_answers=free_answers,
        probe=tuple(probes),
        chat_answers=chat_answers,
        control_questions=min(control_questions, len(general.controls())),
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
    job = LifelongJob(host, editor, InMemory(edits), settings, recorder=both, observer=observer)
    return replace(job.run(), turns=tuple(kept.turns))


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


class StartingPoint:
    """Where a job begins. This one: with an unedited model, and nothing on record.

    What keeps a record derives from it, so that a job can go on where an earlier process left it.
    """

    edits = 0
    """How many edits of the job an earlier process has made."""
    first_turn = 1
    """Turn of the first edit of the job."""
    before: Evaluation | None = None
    """What the unedited model said, if it was asked before."""
    halted: str | None = None
    """Why an earlier process took a turn back and would have made no more. The model is then
    scored where it stands."""
    newest: Newest | None = None
    """Where the last edit made of a prompt is looked up. None reads the source again."""
    take_back: Callable[[str], Progress] | None = None
    """Brings the model and its record to the turn before the last, and records why: called with the
    turn at which a guard ends the job. None leaves that turn where it is."""

    def keep_before(self, before: Evaluation) -> None:
        """Keep what the unedited model says."""

    def start(self, host: ModelHost, editor: Editor) -> Progress:
        """Bring the model to where the earlier process left it, and say where that is."""
        return Progress(editor.init(host))


class LifelongJob:
    """The edits of a job, made turn after turn and scored on the way.

    They are read and tokenized by a thread while the model is at work on those before them. No more
    of them are held than a few turns, the panel and the newest.
    """

    def __init__(
        self,
        host: ModelHost,
        editor: Editor,
        source: EditSource,
        settings: JobSettings,
        start: StartingPoint | None = None,
        *,
        watch: Watch | None = None,
        recorder: Recorder | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Score the unedited model, and bring it to where the job begins.

        Args:
            host: The model, unedited.
            editor: The method.
            source: All edits of the job, and which of them are scored.
            settings: How to cut them, and when to score.
            start: Where to begin. None begins anew.
            watch: What else is measured whenever the model is scored, and the guard that may end
                the job.
            recorder: Receives every turn and evaluation as it happens.
            observer: Receives progress updates.

        Raises:
            DataError: If there is no edit, or one is longer than the model's context.
        """
        if not source.total:
            raise DataError("There is no edit to make.")
        for sentence in stream.oddities(source, host.language_model.tokenizer):
            _log.warning("%s", sentence)
        self._host, self._editor, self._source, self._settings = host, editor, source, settings
        self._start = start or StartingPoint()
        self._recorder, self._observer = recorder or MemoryRecorder(), observer or NullObserver()
        self._checkpoints = Checkpoints(
            *(host, source, settings, self._recorder, self._observer),
            newest=self._start.newest,
            done=self._start.edits,
            first_turn=self._start.first_turn,
            watch=watch,
        )
        if self._start.before is None:
            self._before = self._checkpoints.unedited()
            self._start.keep_before(self._before)
        else:
            self._before = self._start.before
        self._progress = self._start.start(host, editor)
        self._earlier = self._progress.edits - self._start.edits

    @property
    def made(self) -> int:
        """How many edits of the job are made."""
        return self._progress.edits - self._earlier

    def run(self) -> EditResult:
        """Make all edits that are left, and score the model.

        Raises:
            NumericalError: If a turn's update is not finite; the turns before it stay applied.
            KeyboardInterrupt: After Ctrl-C, once the turn at work is recorded.
        """
        if self._start.halted is not None:
            return self._result(self.evaluate(), self._start.halted)
        last: Checked | None = None
        try:
            self.advance()
            last = self.evaluate()
            self._require_passed(last)
        except Halted as halt:
            return self.finish(last, why=str(halt))
        return self.finish(last)

    def evaluate(self, *, free: bool = True) -> Checked:
        """Score the model on the edits that are made, and record it.

        Args:
            free: Whether answers are generated too.
        """
        with self._host.viewed(self._editor, self._progress.state):
            return self._checkpoints.edited(
                self._progress.turns, self.made, self._before.reference, free=free
            )

    def advance(self) -> None:
        """Make the edits that are left, scoring the model after the turns that the settings name.

        Raises:
            Halted: If the guard ends the job.
        """
        self._evaluate_if_due()  # an interrupted run may have stopped just before it
        done = self._start.edits
        self._observer.stage("Editing", self._source.total - done)
        cut = turns(
            self._source.after(done), self._settings.edits_per_turn, self._progress.turns + 1
        )
        try:
            with Background(tokenized_turns(cut, self._host.encode, done)) as ready:
                run_turns(
                    *(self._host, self._editor, _expected(self._host, ready)),
                    *(self._recorder, self._progress, self._after_turn),
                )
        except Halted:
            self._host.expect({})
            raise
        self._host.expect({})

    def finish(self, last: Checked | None = None, why: str | None = None) -> EditResult:
        """End the job where it stands.

        Args:
            last: The evaluation of the last turn, if it is made.
            why: Why the guard ends the job; None if it does not.
        """
        if why is None:
            return self._result(last, None)
        turn = self._progress.turns
        if self._start.take_back is None:
            return self._result(last, f"ended after turn {turn}: {why}")
        if turn == 1:
            return self._result(
                last, f"ended after turn 1, since the first turn is not taken back: {why}"
            )
        ended = f"turn {turn} was taken back: {why}"
        self._progress = self._start.take_back(ended)
        self._checkpoints.stand_at(self.made)
        return self._result(None, ended)

    def _evaluate_if_due(self) -> None:
        if 0 < self.made < self._source.total and self._settings.is_due(self._progress.turns):
            self._require_passed(self.evaluate(free=False))
            self._observer.stage("Editing", self._source.total - self.made)

    def _after_turn(self, turn: Turn, _: Progress) -> None:
        self._checkpoints.made(turn.edits)
        self._observer.advance(len(turn.edits))
        self._evaluate_if_due()

    def _require_passed(self, checked: Checked) -> None:
        """End the job if the guard does not let the model through.

        Raises:
            Halted: If it does not.
        """
        if (why := self._checkpoints.breach(checked, self._before)) is not None:
            raise Halted(why)

    def _result(self, last: Checked | None, halted: str | None) -> EditResult:
        after = last or self.evaluate()
        return EditResult(
            host=self._host,
            editor=self._editor,
            before=self._before,
            after=after.panel,
            turns=(),
            progress=self._progress,
            scored=len(self._source.panel.made(self.made)),
            newest=after.newest,
            halted=halted,
            probed=self._checkpoints.remarks,
        )


def _expected(host: ModelHost, ready: Iterable[TokenizedTurn]) -> Iterator[Turn]:
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


@overload
def ask(
    language_model: LanguageModel,
    question: str,
    *,
    chat: bool = False,
    system: str | None = None,
    max_new_tokens: int = 32,
) -> str: ...


@overload
def ask(
    language_model: LanguageModel,
    question: list[str] | tuple[str, ...],
    *,
    chat: bool = False,
    system: str | None = None,
    max_new_tokens: int = 32,
) -> list[str]: ...


def ask(
    language_model: LanguageModel,
    question: str | list[str] | tuple[str, ...],
    *,
    chat: bool = False,
    system: str | None = None,
    max_new_tokens: int = 32,
) -> str | list[str]:
    """Let a model answer a question, or several, greedily, each to the end of the line.

    Args:
        language_model: The model.
        question: The question, or a list of them. A list is answered by a list.
        chat: Whether to ask in the model's chat template.
        system: What the system says first in the template.
        max_new_tokens: Longest answer, in tokens.

    Raises:
        DataError: If a question is empty, no text, or longer than the model's context.
        ConfigError: If there is no chat template, or a system message without a chat.
    """
    questions = [question] if isinstance(question, str) else list(question)
    for each in questions:
        if not each.strip():
            raise DataError("The question is empty. Write it in quotes after the model.")
        try:
            each.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(f"The question is not UTF-8: {each!r}.") from None
    if system is not None and not chat:
        raise ConfigError("system is a part of a chat: add chat=True.")
    if chat:
        template = chat_of(language_model.tokenizer)
        if template is None:
            raise ConfigError(
                f"{language_model.name} has no chat template. Leave chat (--chat) out."
            )
        questions = [template.rendered(each, system) for each in questions]
    answers = generate(language_model, questions, max_new_tokens=[max_new_tokens] * len(questions))
    return answers[0] if isinstance(question, str) else answers

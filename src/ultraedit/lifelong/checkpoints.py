"""Scoring a job on its way: which edits are evaluated, and what goes on record."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ultraedit.core.types import CheckpointRecord, Edit, NewestScores, Observer, Recorder
from ultraedit.data import general_questions as general
from ultraedit.data.streams import EditPanel, EditSource
from ultraedit.evaluation.metrics import turn_means
from ultraedit.evaluation.monitors import Watch
from ultraedit.evaluation.outcome import Evaluation, Reference
from ultraedit.evaluation.perplexity import read_text
from ultraedit.evaluation.probes import Probing, chat_of
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.settings import JobSettings

Newest = Callable[[Collection[str]], Mapping[str, Edit]]
"""Looks up the last edit made of each of some prompts, all of which were edited."""


class Evaluator:
    """Scores the edits of a panel as the settings say; made once, so that it asks the same.

    Every evaluation of a run goes through here: on its way, at its end, after a revert, and by
    `ultraedit eval`.
    """

    def __init__(
        self, host: ModelHost, panel: EditPanel, settings: JobSettings, observer: Observer
    ) -> None:
        """Read the text for the perplexity, and draw the examples of the probes.

        Raises:
            ConfigError: If there is no such text.
            DataError: If it cannot be read, or has no passage.
        """
        tokenizer = host.language_model.tokenizer
        self.panel = panel
        self._host, self._settings, self._observer = host, settings, observer
        self._text = read_text(host, settings.perplexity)
        self._probing = Probing(settings.probe, tokenizer, panel.edits, settings.seed)
        self._chat = chat_of(tokenizer) if settings.chat_answers else None
        self._controls = asked_controls(settings.control_questions)

    @property
    def remarks(self) -> Mapping[str, str]:
        """By name of a probe what has to be said of it, such as that it was left out."""
        return self._probing.remarks

    def evaluate(self, reference: Reference | None = None) -> Evaluation:
        """Score the whole panel on the model as it stands.

        Args:
            reference: What the unedited model said. None if this is the unedited model.
        """
        return self.evaluate_edits(self.panel.edits, self.panel.newest, reference)

    def evaluate_edits(
        self,
        edits: Sequence[Edit],
        newest: Mapping[str, Edit] | None,
        reference: Reference | None,
        *,
        free: bool = True,
    ) -> Evaluation:
        """Score some edits of the panel.

        Args:
            edits: The edits.
            newest: The last edit made of each prompt, as `evaluation.scoring.questions` takes it.
            reference: What the unedited model said. None if this is the unedited model.
            free: Whether answers are generated too.
        """
        return evaluate(
            self._host,
            edits,
            reference=reference,
            newest=newest,
            free_answers=self._settings.free_answers if free else 0,
            text=self._text,
            probing=self._probing,
            in_chat=self._chat if free else None,
            controls=self._controls,
            observer=self._observer,
        )


def asked_controls(count: int) -> tuple[str, ...]:
    """The first so many of the package's control questions, which cover all their kinds."""
    return tuple(control.prompt for control in general.controls()[:count])


@dataclass(frozen=True)
class Checked:
    """What a checkpoint found."""

    panel: Evaluation
    newest: NewestScores | None
    monitors: dict[str, Any] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
    """Relative change by module of the model that was asked."""


class Checkpoints:
    """Asks the panel of a job and its newest edits; how long the job is costs no memory."""

    def __init__(
        self,
        host: ModelHost,
        source: EditSource,
        settings: JobSettings,
        recorder: Recorder,
        observer: Observer,
        *,
        newest: Newest | None = None,
        done: int = 0,
        first_turn: int = 1,
        watch: Watch | None = None,
    ) -> None:
        """Prepare to score a job.

        Args:
            host: The model.
            source: All edits of the job.
            settings: How many of the newest are scored, and on what.
            recorder: Told of every evaluation.
            observer: Told of every question.
            newest: Where the last edit of a prompt is looked up. None reads the source again.
            done: How many edits an earlier process has made.
            first_turn: Turn of the job's first edit.
            watch: What else is looked at.
        """
        self._watch = watch
        self._host, self._source, self._settings = host, source, settings
        self._recorder, self._observer = recorder, observer
        self._evaluator = Evaluator(host, source.panel, settings, observer)
        self._newest = newest
        self._first_turn = first_turn
        self._last = self._read_last(done)

    @property
    def remarks(self) -> Mapping[str, str]:
        """By name of a probe what has to be said of it, such as that it was left out."""
        return self._evaluator.remarks

    def made(self, edits: Sequence[Edit]) -> None:
        """Take note of edits that were made."""
        self._last.extend(edits)

    def stand_at(self, made: int) -> None:
        """Take note that only so many edits of the job are made: the others were taken back.

        Those in front of them were forgotten on the way and are read again.
        """
        self._last = self._read_last(made)

    def _read_last(self, made: int) -> deque[Edit]:
        """The newest of so many edits that are made, read from the source."""
        size = self._settings.score_newest or 0
        behind = self._source.after(max(0, made - size)) if size and made else iter(())
        return deque(islice(behind, min(size, made)), maxlen=size)

    def breach(self, checked: Checked, before: Evaluation) -> str | None:
        """Which limit of the guard the model exceeds, in words; None if it exceeds none."""
        if self._watch is None:
            return None
        return self._watch.breach(
            checked.monitors, checked.norms, checked.panel.scores, before.scores
        )

    def unedited(self) -> Evaluation:
        """Ask the unedited model about the whole panel, and record it."""
        panel, begun = self._source.panel, time.perf_counter()
        evaluation = self._evaluator.evaluate()
        seen = {} if self._watch is None else self._watch.unedited
        self._record(0, 0, len(panel.edits), begun, Checked(evaluation, None, seen))
        return evaluation

    def edited(self, turn: int, made: int, reference: Reference, *, free: bool) -> Checked:
        """Ask the model as it stands about those of the panel that were made, and record it.

        Args:
            turn: The last turn.
            made: How many edits of the job are made.
            reference: What the unedited model said.
            free: Whether answers are generated too, where the settings do not say so
                anyway.
        """
        begun = time.perf_counter()
        free = free or self._settings.free_always
        edits = self._source.panel.made(made)
        checked = Checked(
            self._evaluator.evaluate_edits(
                edits, self._newest_of(edits, made), reference, free=free
            ),
            self._ask_newest(),
            {} if self._watch is None else self._watch.look(),
            self._host.asked_norms(),
        )
        self._record(turn, made, len(edits), begun, checked)
        return checked

    def _ask_newest(self) -> NewestScores | None:
        """Score the edits made last. Whatever overrules one of them is among them."""
        if not self._last:
            return None
        edits = tuple(self._last)
        newest = evaluate(
            self._host,
            edits,
            reference=Reference(),
            free_answers=0,
            keep=False,
            observer=self._observer,
        )
        return NewestScores(edits=len(edits), scores=newest.scores)

    def _newest_of(self, edits: Sequence[Edit], made: int) -> Mapping[str, Edit] | None:
        """The last edit made of each prompt; None where the edits say so themselves."""
        if self._source.panel.newest is None:
            return None
        prompts = {edit.prompt for edit in edits}
        if self._newest is not None:
            return self._newest(prompts)
        before = islice(self._source.after(), made)
        return {edit.prompt: edit for edit in before if edit.prompt in prompts}

    def _record(self, turn: int, made: int, edits: int, begun: float, checked: Checked) -> None:
        panel, size = self._source.panel, self._settings.edits_per_turn
        by_turn = {
            name: turn_means(scores, panel.places, size)
            for name, scores in checked.panel.by_edit.items()
        }
        self._recorder.checkpoint(
            CheckpointRecord(
                turn=turn,
                edits=edits,
                made=made,
                overruled=checked.panel.overruled,
                seconds=time.perf_counter() - begun,
                scores=checked.panel.scores,
                by_turn=by_turn,
                first_turn=self._first_turn,
                newest=checked.newest,
                monitors=checked.monitors,
                controls=checked.panel.controls,
                intervals=checked.panel.intervals,
            )
        )

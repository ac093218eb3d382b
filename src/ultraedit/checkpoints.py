"""Scoring a job on its way: whom a checkpoint asks, and what goes on record."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ultraedit.errors import ConfigError
from ultraedit.evaluate import Evaluation, Reference, evaluate
from ultraedit.host import ModelHost
from ultraedit.metrics import turn_means
from ultraedit.monitors import Watch
from ultraedit.perplexity import Text
from ultraedit.probes import Probing, chat_of
from ultraedit.stream import Source
from ultraedit.types import CheckpointRecord, Edit, NewestScores, Observer, Recorder

Newest = Callable[[Collection[str]], Mapping[str, Edit]]
"""Looks up the last edit made of each of some prompts, all of which were edited."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the edits of a job are cut into turns, and when the model is scored."""

    edits_per_turn: int = 100
    evaluate_every: int | None = None
    """Score after every so many turns; None for the end alone."""
    evaluate_at: tuple[int, ...] = ()
    """Score after these turns."""
    score_newest: int | None = None
    """Also score the so many edits that were made last; None for none."""
    free_answers: int | None = None
    """How many edits are also asked freely, before and after all turns; None for all."""
    text: Text = ()
    """Passages whose perplexity is measured whenever the model is scored."""
    probes: tuple[str, ...] = ()
    """Probes that are asked whenever the model is scored, of `probes.NAMES`."""
    chat_answers: bool = False
    """Whether the edits that are asked freely are asked in the model's chat template too."""
    free_always: bool = False
    """Whether these are asked freely at every checkpoint on the way too."""
    controls: tuple[str, ...] = ()
    """Questions that have nothing to do with any edit, whose answers should not change."""
    seed: int = 0
    """Chooses the examples of probes that have some."""

    def __post_init__(self) -> None:
        """Refuse what no schedule can be.

        Raises:
            ConfigError: If a number is too small.
        """
        for name in ("edits_per_turn", "evaluate_every", "score_newest"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}.")

    def is_due(self, turn: int) -> bool:
        """Whether a checkpoint belongs after a turn that is not the last."""
        every = self.evaluate_every is not None and turn % self.evaluate_every == 0
        return every or turn in self.evaluate_at


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
        source: Source,
        schedule: Schedule,
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
            schedule: How many of the newest are asked, and how many freely.
            recorder: Told of every evaluation.
            observer: Told of every question.
            newest: Where the last edit of a prompt is looked up. None reads the source again.
            done: How many edits an earlier process has made.
            first_turn: Turn of the job's first edit.
            watch: What else is looked at.
        """
        self._watch = watch
        self._host, self._source, self._schedule = host, source, schedule
        self._recorder, self._observer = recorder, observer
        self.probing = Probing(
            schedule.probes, host.language_model.tokenizer, source.panel.edits, schedule.seed
        )
        self._chat = chat_of(host.language_model.tokenizer) if schedule.chat_answers else None
        self._newest = newest
        self._first_turn = first_turn
        self._last = self._read_last(done)

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
        size = self._schedule.score_newest or 0
        behind = self._source.after(max(0, made - size)) if size and made else iter(())
        return deque(islice(behind, min(size, made)), maxlen=size)

    def breach(self, found: Checked, before: Evaluation) -> str | None:
        """Why the guard does not let the model through; None if it does."""
        if self._watch is None:
            return None
        return self._watch.breach(found.monitors, found.norms, found.panel.scores, before.scores)

    def unedited(self) -> Evaluation:
        """Ask the unedited model about the whole panel, and record it."""
        panel, begun = self._source.panel, time.perf_counter()
        found = self._ask(panel.edits, panel.newest, None, free=True)
        seen = {} if self._watch is None else self._watch.unedited
        self._record(0, 0, len(panel.edits), begun, Checked(found, None, seen))
        return found

    def edited(self, turn: int, made: int, reference: Reference, *, free: bool) -> Checked:
        """Ask the model as it stands about those of the panel that were made, and record it.

        Args:
            turn: The last turn.
            made: How many edits of the job are made.
            reference: What the unedited model said.
            free: Whether to ask freely too, where the schedule does not say so anyway.
        """
        begun = time.perf_counter()
        free = free or self._schedule.free_always
        edits = self._source.panel.made(made)
        found = Checked(
            self._ask(edits, self._newest_of(edits, made), reference, free=free),
            self._ask_newest(),
            {} if self._watch is None else self._watch.look(),
            self._host.asked_norms(),
        )
        self._record(turn, made, len(edits), begun, found)
        return found

    def _ask(
        self,
        edits: Sequence[Edit],
        newest: Mapping[str, Edit] | None,
        reference: Reference | None,
        *,
        free: bool,
    ) -> Evaluation:
        return evaluate(
            self._host,
            edits,
            reference=reference,
            newest=newest,
            free_answers=self._schedule.free_answers if free else 0,
            text=self._schedule.text,
            probing=self.probing,
            in_chat=self._chat if free else None,
            controls=self._schedule.controls,
            observer=self._observer,
        )

    def _ask_newest(self) -> NewestScores | None:
        """Score the edits made last. Whatever overrules one of them is among them."""
        if not self._last:
            return None
        edits = tuple(self._last)
        found = evaluate(
            self._host,
            edits,
            reference=Reference(),
            free_answers=0,
            keep=False,
            observer=self._observer,
        )
        return NewestScores(edits=len(edits), scores=found.scores)

    def _newest_of(self, edits: Sequence[Edit], made: int) -> Mapping[str, Edit] | None:
        """The last edit made of each prompt; None where the edits say so themselves."""
        if self._source.panel.newest is None:
            return None
        prompts = {edit.prompt for edit in edits}
        if self._newest is not None:
            return self._newest(prompts)
        before = islice(self._source.after(), made)
        return {edit.prompt: edit for edit in before if edit.prompt in prompts}

    def _record(self, turn: int, made: int, edits: int, begun: float, found: Checked) -> None:
        panel, size = self._source.panel, self._schedule.edits_per_turn
        by_turn = {
            name: turn_means(scores, panel.places, size)
            for name, scores in found.panel.by_edit.items()
        }
        self._recorder.checkpoint(
            CheckpointRecord(
                turn=turn,
                edits=edits,
                made=made,
                overruled=found.panel.overruled,
                seconds=time.perf_counter() - begun,
                scores=found.panel.scores,
                by_turn=by_turn,
                first_turn=self._first_turn,
                newest=found.newest,
                monitors=found.monitors,
                controls=found.panel.controls,
                intervals=found.panel.intervals,
            )
        )

"""The editing side of a server: one turn at a time, on the disk before anybody is told of it.

Everything here belongs to one thread, the journal's connection too. The model that it changes is
not the one that answers: see `versions`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

from torch import Tensor

from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import (
    Additive,
    Carried,
    CheckpointRecord,
    Edit,
    Scores,
    State,
    Turn,
    TurnRecord,
    dense,
)
from ultraedit.evaluation.monitors import Guard, Halted
from ultraedit.evaluation.outcome import Reference
from ultraedit.evaluation.scoring import MIN_TOKENS, evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import MemoryRecorder, Progress, norms, peak_memory, run_turns
from ultraedit.runs.replay import restore
from ultraedit.runs.resolution import ResolvedSettings
from ultraedit.runs.store import RunFolder, StoredEdit
from ultraedit.runs.store.random_state import random_state, restore_random_state
from ultraedit.runs.store.snapshots import digest
from ultraedit.serve.computed_turns import Computed, InitialOnce
from ultraedit.serve.questions import Asked, Questions, Tested, compared, is_right, with_questions
from ultraedit.serve.spool import Spool
from ultraedit.serve.versions import Version, first_version, next_version, run_id, version_name
from ultraedit.serve.watching import Seen, Watch

SHOWN_CONTROLS = 8
"""Control questions that a preview asks in free generation."""

SCORED = 16
"""Newest active edits that are scored at every turn."""

AUDITED = 1000
"""Newest entries of the audit that are kept."""


class Refused(Halted):
    """A guard has taken a turn back; nothing of it was recorded."""


class Taught(NamedTuple):
    """A turn that was written."""

    turn: int
    rows: tuple[int, ...]
    """Rows of its edits in the journal."""
    seconds: float
    norm: float
    """Largest relative change of a weight by now."""
    overruled: tuple[StoredEdit, ...]
    """Edits of the same prompts that hold no more."""


class Preview(NamedTuple):
    """What a turn would do. Nothing was written."""

    questions: tuple[tuple[Asked, ...], ...]
    """Of each fact."""
    controls: tuple[Asked, ...]
    overrules: tuple[StoredEdit, ...]
    seconds: float
    norm: float
    refused: str | None
    """Why the guard would take it back; None if it would not."""


class LiveRun:
    """A run that is edited while its newest version answers."""

    def __init__(
        self,
        folder: RunFolder,
        host: ModelHost,
        settings: ResolvedSettings,
        guard: Guard,
        text: str | None = None,
    ) -> None:
        """Look at the unedited model, which the host must hold.

        Args:
            folder: The run, from `opening.open_run`.
            host: Its model.
            settings: Its settings.
            guard: Takes turns back.
            text: A text whose perplexity is watched; None for the control questions themselves.
        """
        self.folder, self.host, self.settings = folder, host, settings
        self.journal = folder.journal
        self.journal_editor = str(self.journal.value("settings")["editor"])
        self.editor = InitialOnce(settings.editor)
        self.spool = Spool()
        self.run = run_id(
            str(self.journal.value("fingerprint")), str(self.journal.value("started"))
        )
        self.tests: dict[int, Tested] = {}
        """What was found of each edit when it was asked last, by its row."""
        self.seen: dict[str, Seen] = {}
        """What was seen of each version, by its name."""
        self.progress: Progress | None = None
        self.version = first_version(host.language_model, self.run, self._weights())
        self.first = self.version
        self.questions = Questions(host, settings.editor)
        host.use_trunk(for_edits=False)
        self.watch = Watch(host, guard, text)
        self._controls = self.watch.prompts[:SHOWN_CONTROLS]
        self._said: tuple[str, dict[str, str]] = ("", {})
        self._guarded: Seen | None = None
        self._saved = folder.path / "model"
        self._has_written = False
        self.see()

    def begin(self) -> Version:
        """Bring the model to where the run stands, ready for the next turn."""
        self._stand_at(self.journal.head())
        assert self.progress is not None
        if self.progress.turns:
            self._keep()
        return self._publish()

    def close(self) -> None:
        """Leave the folder as the command line expects it."""
        try:
            if self.progress is not None and self.progress.turns:
                self.folder.settle(self._carried())
            if self._has_written and self._saved.is_dir():
                with self._viewed():
                    models.save(self.host.language_model, self._saved)
            self.folder.seal()
        finally:
            self.spool.close()
            self.folder.close()

    # Turns

    def teach(self, edits: Sequence[Edit], author: str | None) -> tuple[Taught, Version]:
        """Write facts as one turn.

        Raises:
            Refused: If the guard lets the model through no more. The turn is taken back.
            UltraEditError: If it cannot be made or recorded. The model stays what it was.
        """
        progress = self._standing()
        edits = self._named(edits)
        overruled = self._overruled(edits)
        ready = self.editor.computed
        if ready is not None and not ready.is_turn(self._place(), edits):
            self.editor.computed = None
        trial = replace(progress)
        begun = time.perf_counter()
        with self._whole(), self._by(author):
            run_turns(
                self.host,
                self.editor,
                [Turn(progress.turns + 1, tuple(edits))],
                _Guarded(self),
                trial,
            )
            seconds = time.perf_counter() - begun
        self.progress = trial
        self._keep()
        version = self._publish(self._guarded)
        rows = tuple(each.row for each in self.journal.turn_edits(trial.turns))
        self._check(rows)
        return (
            Taught(trial.turns, rows, seconds, self._norm(), tuple(overruled)),
            version,
        )

    def revert(self, rows: Collection[int], author: str | None) -> tuple[int, Version]:
        """Take edits out, and keep what all others did; as `runs.revert` does it.

        Args:
            rows: Rows of edits that are active.
            author: Who asks for it.

        Returns:
            The turn under which it is on record, and its version.
        """
        chosen = [each for each in self.journal.standing() if each.row in set(rows)]
        missing = set(rows) - {each.row for each in chosen}
        if missing:
            raise ConfigError(f"No active edit has the number {min(missing)}.")
        progress = self._standing()
        begun = time.perf_counter()
        stood = self.host.weights.snapshot()
        random = random_state()
        with self._whole(), self._by(author):
            share = self._share(chosen)
            self.host.weights.restore({path: stood[path] - share[path] for path in stood})
            restore_random_state(random)
            record = TurnRecord(
                turn=progress.turns + 1,
                edits=len(chosen),
                total_edits=self.journal.holding() - len(chosen),
                seconds=time.perf_counter() - begun,
                memory_bytes=peak_memory(),
                norms=norms(self.host),
            )
            carried = Carried(self.host.weights.changes, progress.state)
            self.unsettle()
            self.folder.revert(record, tuple(sorted(rows)), carried)
        self.progress = replace(progress, turns=record.turn, edits=record.total_edits)
        self.progress.seconds += record.seconds
        self._keep()
        self._settled()
        return record.turn, self._publish()

    def rollback(self, turn: int, author: str | None) -> Version:
        """Bring the run back to an earlier turn, exactly.

        Raises:
            ConfigError: If there is no such turn.
        """
        head = self.journal.head()
        if not 0 <= turn <= head:
            raise ConfigError(
                f"There is no turn {turn}: the run stands at turn {head}, and 0 is the unedited "
                "model."
            )
        with self._whole():
            self._stand_at(turn)
            self.unsettle()
            self.folder.rollback(turn, self._carried())
        self.note("rollback", author, {"from": head, "to": turn})
        self._settled()
        return self._publish()

    def version_at(self, turn: int) -> Version:
        """Make the version of an earlier turn again, to be asked.

        Raises:
            ConfigError: If there is no such turn.
        """
        if turn == 0:
            return self.first
        digest = self.journal.turn(turn) and self.journal.digest(turn)
        progress, stood, random = self._standing(), self.host.weights.snapshot(), random_state()
        try:
            self._stand_at(turn)
            weights = self._seen_weights()
        finally:
            self.progress = progress
            self.host.weights.restore(stood)
            restore_random_state(random)
        return next_version(self.first, version_name(self.run, turn, digest), turn, weights)

    def preview(self, edits: Sequence[Edit]) -> Preview:
        """Work a turn out and ask around it, writing nothing."""
        progress = self._standing()
        edits = [with_questions(edit) for edit in edits]
        turn = Turn(progress.turns + 1, tuple(edits))
        prompts = [self.questions.around(edit) for edit in edits]
        limits = {
            prompt: self.questions.limit(edit)
            for edit, asked in zip(edits, prompts, strict=True)
            for *_, prompt in asked
        }
        before = self._answers(limits) | self._control_answers()
        random = random_state()
        begun = time.perf_counter()
        patch, state = self.settings.editor.step(self.host, turn, progress.state)
        seconds = time.perf_counter() - begun
        ready = Computed(
            self._place(), turn.edits, Additive(patch.changes), state, random_state(), seconds
        )
        restore_random_state(random)
        with self.host.patched(patch), self.host.viewed(self.settings.editor, state):
            norm = max(norms(self.host).values())
            refused = self.watch.breach(self.watch.look(turn.number))
            after = self._said_now(limits | dict.fromkeys(self._controls, MIN_TOKENS))
        self.editor.computed = ready
        return Preview(
            questions=tuple(
                tuple(compared(edit, question, before, after) for question in asked)
                for edit, asked in zip(edits, prompts, strict=True)
            ),
            controls=tuple(
                Asked(
                    "control", "plain", each, before[each], after[each], before[each] == after[each]
                )
                for each in self._controls
            ),
            overrules=tuple(self._overruled(edits)),
            seconds=seconds,
            norm=norm,
            refused=refused,
        )

    # Looking on

    def retest(self, count: int) -> bool:
        """Ask some edits that were not asked since the last turn; whether there were any."""
        progress = self._standing()
        due = (
            each.row
            for each in self.journal.standing()
            if each.row not in self.tests or self.tests[each.row].turn != progress.turns
        )
        rows = [row for row, _ in zip(due, range(count), strict=False)]
        if rows:
            self._check(rows)
        return bool(rows)

    def see(self) -> Seen:
        """Look at the model as it stands."""
        turn = 0 if self.progress is None else self.progress.turns
        with self._viewed():
            self.seen[self.version.name] = self.watch.look(turn)
        return self.seen[self.version.name]

    def note(self, action: str, author: str | None, detail: Mapping[str, Any]) -> None:
        """Add to the audit what leaves no turn: rollbacks, and turns that were refused."""
        entry = {"at": _now(), "action": action, "author": author, **detail}
        noted = [*(self.journal.value("audit") or ()), entry]
        self.journal.set_value("audit", noted[-AUDITED:])

    # Within

    def _standing(self) -> Progress:
        assert self.progress is not None
        return self.progress

    def _place(self) -> tuple[int, str | None]:
        turns = self._standing().turns
        return turns, self.journal.digest(turns) if turns else None

    def _carried(self) -> Carried:
        return Carried(self.host.weights.changes, self._standing().state)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Undo what the body did to the model and the random state if it fails."""
        progress, weights = self.progress, self.host.weights.snapshot()
        random = random_state()
        try:
            yield
        except BaseException:
            self.progress = progress
            self.host.weights.restore(weights)
            restore_random_state(random)
            self.editor.computed = None
            raise

    @contextmanager
    def _by(self, author: str | None) -> Iterator[None]:
        self.folder.author = author
        try:
            yield
        finally:
            self.folder.author = None

    def _stand_at(self, turn: int) -> None:
        """Bring the model to a turn: from the spool, or as the command line does."""
        self.editor.computed = None
        number = digest_of = None
        if turn:
            number, digest_of = self.journal.turn(turn), self.journal.digest(turn)
        carried = self.spool.get(digest_of)
        if carried is None:
            self.progress = restore(self.host, self.editor, self.journal, turn)
            return
        assert number is not None
        self.host.weights.restore(carried.changes)
        noted = self.journal.random_state(turn) or bytes.fromhex(self.journal.value("random"))
        restore_random_state(noted)
        seconds = math.fsum(record["seconds"] for record in self.journal.records(turn))
        self.progress = Progress(carried.state, turn, number.record["total_edits"], seconds)

    def _keep(self) -> None:
        """Have what the newest turn carries on at hand."""
        carried = self._carried()
        with suppress(OSError):  # A full disk for temporary files costs time, no fact.
            self.spool.put(digest(carried), carried)

    def unsettle(self) -> None:
        """Take away what tells of an earlier turn, before the first one of this server."""
        if not self._has_written:
            self._has_written = True
            self.folder.unseal()
            self.folder.drop_results()

    def _settled(self) -> None:
        """Leave the folder whole after a turn that was not made by an editor."""
        self.folder.write_records()
        if not self._saved.is_dir():  # which is that of an earlier turn until the end
            self.folder.seal()
            self.folder.unseal()

    def _share(self, chosen: Sequence[StoredEdit]) -> dict[str, Tensor]:
        """What edits have put into each weight: their turns with them, less without them."""
        rows = {each.row for each in chosen}
        share = {path: change.zero_() for path, change in self.host.weights.snapshot().items()}
        for number in sorted({each.turn for each in chosen}):
            made = self.journal.turn_edits(number)
            present = [each for each in made if each.reverted_by is None]
            left = [each.edit for each in present if each.row not in rows]
            # With all of its edits a turn is what it was: it need not be solved again.
            after = self.spool.get(self.journal.digest(number)) if present == made else None
            self._stand_at(number - 1)
            state, random = self._standing().state, random_state()
            before = self.host.weights.snapshot()
            if after is not None:
                for path, change in after.changes.items():
                    share[path] += change - before[path]
            else:
                edits = [each.edit for each in present]
                for path, change in self._solved(number, edits, state, random).items():
                    share[path] += change
            for path, change in self._solved(number, left, state, random).items():
                share[path] -= change
        return share

    def _solved(
        self, number: int, edits: Sequence[Edit], state: State, random: bytes
    ) -> dict[str, Tensor]:
        """The changes of a turn, dense; none of no edits."""
        if not edits:
            return {}
        restore_random_state(random)
        patch, _ = self.settings.editor.step(self.host, Turn(number, tuple(edits)), state)
        return {path: dense(change) for path, change in patch.changes.items()}

    def _named(self, edits: Sequence[Edit]) -> list[Edit]:
        """The edits, each with an id that no other edit of the run has."""
        taken = set(self.journal.names(self.journal.head() + 1))
        named = []
        count = len(taken)
        for edit in edits:
            if edit.id and edit.id in taken:
                raise ConfigError(f"The run has an edit with the id {edit.id!r} already.")
            if not edit.id:
                while (name := f"taught-{count + 1}") in taken:
                    count += 1
                edit = replace(edit, id=name)
            taken.add(edit.id)
            named.append(edit)
        return named

    def _overruled(self, edits: Sequence[Edit]) -> list[StoredEdit]:
        newest = [self.journal.last_of_prompt(edit.prompt) for edit in edits]
        return [
            old
            for old, edit in zip(newest, edits, strict=True)
            if old is not None and old.edit.target != edit.target
        ]

    def _weights(self) -> dict[str, Tensor]:
        """A copy of each edited weight, as its layer stores it."""
        model = self.host.language_model.model
        return {
            path: model.get_submodule(path).weight.detach().clone() for path in self.host.modules
        }

    def _seen_weights(self) -> dict[str, Tensor]:
        with self._viewed():
            return self._weights()

    @contextmanager
    def _viewed(self) -> Iterator[None]:
        if self.progress is None:
            yield
            return
        with self.host.viewed(self.settings.editor, self.progress.state):
            yield

    def _publish(self, seen: Seen | None = None) -> Version:
        """Make the version of the model as it stands, and look at it.

        Args:
            seen: What was seen of it; None looks.
        """
        turns, noted = self._place()
        name = version_name(self.run, turns, noted)
        weights = self._seen_weights()
        self.version = next_version(self.first, name, turns, weights) if turns else self.first
        if seen is not None:
            self.seen[name] = seen
        elif name not in self.seen:
            self.see()
        self._score()
        return self.version

    def _score(self) -> None:
        """Score the newest edits, as the run's record of the turn."""
        progress = self._standing()
        if not progress.turns or self.journal.has_checkpoint(self.journal.job().id, progress.turns):
            return
        begun = time.perf_counter()
        edits = [each.edit for each in self.journal.standing()][-SCORED:]
        seen = self.seen[self.version.name]
        scores = Scores(perplexity=seen.perplexity)
        if edits:
            bare = [replace(edit, rephrases=(), locality=(), probes={}) for edit in edits]
            with self._viewed():
                evaluation = evaluate(
                    self.host, bare, reference=Reference(), free_answers=0, keep=False
                )
            scores = replace(evaluation.scores, perplexity=seen.perplexity)
        self.folder.checkpoint(
            CheckpointRecord(
                turn=progress.turns,
                edits=len(edits),
                overruled=0,
                seconds=time.perf_counter() - begun,
                scores=scores,
                monitors={"serve": asdict(seen)},
            )
        )

    def guarded(self, turn: int, state: State) -> None:
        """Refuse a turn that is applied and not recorded yet, if the guard does.

        Raises:
            Refused: If it does.
        """
        with self.host.viewed(self.settings.editor, state):
            seen = self.watch.look(turn)
        why = self.watch.breach(seen)
        if why is not None:
            raise Refused(why)
        self._guarded = seen

    def _norm(self) -> float:
        return max(norms(self.host).values(), default=0.0)

    # Questions

    def _answers(self, limits: Mapping[str, int]) -> dict[str, str]:
        with self._viewed():
            return self._said_now(limits)

    def _said_now(self, limits: Mapping[str, int]) -> dict[str, str]:
        prompts = list(limits)
        answers = self.host.answer(prompts, [limits[prompt] for prompt in prompts])
        return dict(zip(prompts, answers, strict=True))

    def _control_answers(self) -> dict[str, str]:
        """What the model says to the control questions as it stands, asked once a turn."""
        name = self.version.name
        if self._said[0] != name:
            self._said = (name, self._answers(dict.fromkeys(self._controls, MIN_TOKENS)))
        return self._said[1]

    def _check(self, rows: Collection[int]) -> None:
        """Ask edits in every form, and note what became of them."""
        edits = {each.row: each.edit for each in self.journal.standing() if each.row in set(rows)}
        forms = self.questions.forms
        put = {
            (row, form): self.questions.put(edit.prompt, form)
            for row, edit in edits.items()
            for form in forms
        }
        limits = {prompt: self.questions.limit(edits[row]) for (row, _), prompt in put.items()}
        said = self._answers(limits) if limits else {}
        newest = {edit.prompt: edit for edit in edits.values()}
        for row in edits:
            answers = {form: said[put[row, form]] for form in forms}
            edit = newest[edits[row].prompt]
            right = {form: is_right(edit, answer) for form, answer in answers.items()}
            self.tests[row] = Tested(self._standing().turns, right, answers)


class _Guarded(MemoryRecorder):
    """Records a turn in the run's folder once the guard has let it through."""

    def __init__(self, run: LiveRun) -> None:
        super().__init__()
        self._run = run

    def turn(self, record: TurnRecord, turn: Turn, carried: Carried) -> None:
        """Refuse the turn or record it."""
        self._run.guarded(turn.number, carried.state)
        self._run.unsettle()
        self._run.folder.turn(record, turn, carried)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")

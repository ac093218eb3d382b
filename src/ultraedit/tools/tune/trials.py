"""One candidate, tried: edit the rows from the unedited model, score them, take it all back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ultraedit.core.types import Edit, NullObserver, Observer, Question, turns
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation.outcome import Reference
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.host.trace.hidden_states import StateStore
from ultraedit.lifelong.loop import MemoryRecorder, Progress, run_turns
from ultraedit.tools.tune.space import Candidate

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

BUDGET_BYTES = 2**30
"""Memory for the states of each depth at which trials begin. Past it they go to a file."""


@dataclass(frozen=True)
class Trial:
    """How a candidate did."""

    candidate: Candidate
    rows: int
    """Edits that it was tried on."""

    efficacy: float
    generalization: float | None
    """None where the facts have no rephrases."""

    agreement: float
    """With the unedited model, on questions that are not edited."""

    seconds: float
    """Wall time of edits and scores."""

    etas: dict[str, float]
    """The steps that this came to, by module."""

    @property
    def written(self) -> float:
        """How well the facts are written: the harmonic mean of efficacy and generalization."""
        return harmonic_mean([self.efficacy, self.generalization])

    @property
    def score(self) -> float:
        """The objective: the harmonic mean of efficacy, generalization and agreement.

        It is near the worst of the three, so that no gain in one makes up for the loss of another.
        """
        return harmonic_mean([self.efficacy, self.generalization, self.agreement])


def harmonic_mean(values: Sequence[float | None]) -> float:
    """Harmonic mean of those values that there are; 0 where one of them is 0."""
    present = [value for value in values if value is not None]
    if not present or min(present) <= 0:
        return 0.0
    return len(present) / sum(1 / value for value in present)


class TrialRunner:
    """A model on which candidates are tried, one after the other, each from the unedited weights.

    The layers below the lowest edited one are run once per question and depth: every trial that
    begins there, edits and scores alike, starts from their output.
    """

    def __init__(
        self,
        model: LanguageModel,
        edits: Sequence[Edit],
        *,
        edits_per_turn: int = 100,
        trunk: bool = True,
    ) -> None:
        """Get ready; nothing is computed yet.

        Args:
            model: The unedited model.
            edits: The facts to try candidates on, with something to measure agreement on.
            edits_per_turn: As in a run.
            trunk: Whether to keep what lies below the edited layers.
        """
        self.model = model
        self.edits = list(edits)
        self.edits_per_turn = edits_per_turn
        self._trunk = trunk
        self._stores: dict[int, StateStore] = {}
        self._reference = Reference()
        self._known = 0
        self._steps: dict[Any, dict[str, float]] = {}

    def trial(self, candidate: Candidate, rows: int, observer: Observer | None = None) -> Trial:
        """Try a candidate on the first rows. The model is unedited again afterwards.

        Raises:
            UltraEditError: If it cannot be done, as when an update is not finite.
        """
        rows = min(rows, len(self.edits))
        editor = UltraEdit(**candidate.options(rows))
        return self.attempt(candidate, editor, rows, observer or NullObserver())

    def attempt(
        self, candidate: Candidate, editor: UltraEdit, rows: int, observer: Observer
    ) -> Trial:
        """Try the modules of a candidate with an editor of one's own."""
        edits = self.edits[:rows]
        host = self._host(candidate.modules)
        try:
            self._know(host, len(edits), observer)
            begun = time.perf_counter()
            start = Progress(editor.init(host) | self._settled(candidate, editor, rows))
            cut = turns(edits, self.edits_per_turn)
            progress = run_turns(host, editor, cut, MemoryRecorder(), start)
            scores = evaluate(
                host, edits, reference=self._reference, free_answers=0, observer=observer
            ).scores
        finally:
            host.weights.reset()
        etas = {
            name.removeprefix("eta/"): float(value)
            for name, value in progress.state.items()
            if name.startswith("eta/")
        }
        if editor.eta == "auto":
            steps = {path: eta / editor.step_factor for path, eta in etas.items()}
            self._steps[_question(candidate, editor, rows)] = steps
        assert scores.efficacy is not None and scores.agreement is not None
        return Trial(
            candidate,
            len(edits),
            scores.efficacy,
            scores.generalization,
            scores.agreement,
            time.perf_counter() - begun,
            etas,
        )

    def _settled(self, candidate: Candidate, editor: UltraEdit, rows: int) -> dict[str, Tensor]:
        """Steps that an earlier trial has found where this one would look for the same.

        Looking takes six passes of the first turn, and does not depend on the factor of a step.
        """
        if editor.eta != "auto":
            return {}
        known = self._steps.get(_question(candidate, editor, rows), {})
        return {
            f"eta/{path}": torch.tensor(eta * editor.step_factor, dtype=torch.float64)
            for path, eta in known.items()
        }

    def close(self) -> None:
        """Forget all states."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def _host(self, modules: Sequence[str]) -> ModelHost:
        """A host for some modules, whose trunk has what trials at its depth have computed."""
        host = ModelHost(self.model, modules)
        if self._trunk:
            host.use_trunk(budget_bytes=BUDGET_BYTES)
        if host.trunk is not None:
            depth = host.trunk.first
            host.trunk.store = self._stores.setdefault(depth, host.trunk.store)
        return host

    def _know(self, host: ModelHost, rows: int, observer: Observer) -> None:
        """Ask the unedited model what trials of so many rows compare with."""
        if rows <= self._known:
            return
        fresh = evaluate(host, self.edits[self._known : rows], free_answers=0, observer=observer)
        self._reference.tokens.update(fresh.reference.tokens)
        self._reference.answers.update(fresh.reference.answers)
        self._known = rows


def _question(candidate: Candidate, editor: UltraEdit, rows: int) -> Any:
    """All that the steps which auto finds depend on, the factor aside."""
    return candidate.modules, replace(editor, step_factor=1.0), rows


def with_controls(edits: Sequence[Edit], others: Sequence[Edit]) -> list[Edit]:
    """Edits that have something to measure agreement on.

    Where no edit has a locality question with an answer, each gets the question of a row that is
    not edited.

    Args:
        edits: The edits.
        others: Rows that are not among them.
    """
    answered = any(question.target for edit in edits for question in edit.locality)
    if answered or not others:
        return list(edits)
    return [
        replace(edit, locality=(Question(other.prompt, other.target),))
        for edit, other in zip(edits, _endless(others), strict=False)
    ]


def _endless(rows: Sequence[Edit]) -> Sequence[Edit]:
    return [rows[index % len(rows)] for index in range(10**6)] if len(rows) < 10**6 else rows

"""Training from turn to turn: the order of the edits, validation, an early stop, going on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ultraedit.core.nets import Net
from ultraedit.core.types import Edit, LossValue, NullObserver, Observer, Turn, turns
from ultraedit.editors.seeds import derived


class Learning(Protocol):
    """What is trained: `Learner`, or anything else that learns from turns."""

    def learn(self, turn: Turn, earlier: Sequence[Turn] = ()) -> list[LossValue]:
        """Learn from a turn."""
        ...

    def end_epoch(self) -> None:
        """All turns have been seen once more."""
        ...

    def losses(self, turns: Sequence[Turn]) -> list[LossValue]:
        """How it does on edits, rephrases and unrelated questions that it does not learn from."""
        ...

    def steps_taken(self) -> int:
        """How often what is judged has changed."""
        ...

    def net(self, about: Mapping[str, object]) -> Net:
        """What was learned so far."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that the next turn needs."""
        ...

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long, and in what order."""

    edits_per_turn: int = 100
    epochs: int = 1
    turns: int | None = None
    """Most turns of an epoch."""
    depth: int = 1
    """Turns that a turn looks back on, itself included."""
    drift: float = 1.0
    """Weight of the drift in the loss that decides which net is best."""
    check_every: int = 10
    """Turns between two looks at the validation rows."""
    patience: int = 10
    """Looks without a better one after which training ends."""
    seed: int = 0


class ValidationCheck(NamedTuple):
    """One look at the validation rows: the model after their turns."""

    turns: int
    """Turns of training before it."""
    loss: float
    """Of the rephrased prompts, plus the weighted drift. What decides which net is best."""
    efficacy: float
    generalization: float
    agreement: float


class Position:
    """Where a training stands between two turns, beside what the learner knows."""

    def __init__(self) -> None:
        self.epoch = 0
        self.turn = 0
        self.turns = 0
        self.checked = -1
        """Steps that had been taken when last looked at the validation rows."""
        self.stale = 0
        """Looks since the best."""
        self.checks: list[ValidationCheck] = []
        self.best: Net | None = None

    def pack(self, learner: Learning) -> Net:
        """All of a training, as something that can be a file."""
        tensors = {f"learner/{name}": tensor for name, tensor in learner.state().items()}
        if self.best is not None:
            tensors |= {f"best/{name}": tensor for name, tensor in self.best.tensors.items()}
        names = ("epoch", "turn", "turns", "checked", "stale", "checks")
        return Net(tensors, {name: getattr(self, name) for name in names})

    @classmethod
    def unpack(cls, saved: Net, learner: Learning) -> Position:
        """Undo `pack`, in the learner too."""
        position = cls()
        for name in ("epoch", "turn", "turns", "checked", "stale"):
            setattr(position, name, saved.about[name])
        position.checks = [ValidationCheck(*values) for values in saved.about["checks"]]
        learner.resume(_part(saved.tensors, "learner/"))
        best = _part(saved.tensors, "best/")
        position.best = Net(best, {}) if best else None
        return position


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


class Fitted(NamedTuple):
    """The end of a training."""

    net: Net
    turns: int
    checks: list[ValidationCheck]
    stopped_early: bool


def fit(
    learner: Learning,
    edits: Sequence[Edit],
    schedule: Schedule,
    *,
    validation: Sequence[Edit] = (),
    saved: Net | None = None,
    keep: Callable[[Callable[[], Net]], None] | None = None,
    report: Callable[[ValidationCheck], None] | None = None,
    observer: Observer | None = None,
) -> Fitted:
    """Train on turns of edits, the order drawn anew each epoch.

    Args:
        learner: What is trained.
        edits: What it learns from.
        schedule: How long.
        validation: Edits that are only looked at; with them the best net counts, else the last.
        saved: Where to go on from, as `keep` was given it.
        keep: Called after each turn with a function that packs all of it, to be kept or not.
        report: Told of each look at the validation rows.
        observer: Told of the edits.

    Returns:
        The net, its `about` still empty.
    """
    observer = observer or NullObserver()
    at = Position() if saved is None else Position.unpack(saved, learner)
    observer.stage("Training", len(edits) * schedule.epochs)
    observer.advance(at.epoch * len(edits) + min(at.turn * schedule.edits_per_turn, len(edits)))
    if not at.turns:
        _check(learner, at, validation, schedule, report)
    stopped = _is_stale(at, schedule)
    while at.epoch < schedule.epochs and not stopped:
        batches = _order(edits, schedule, at.epoch)
        while at.turn < len(batches) and not stopped:
            turn = batches[at.turn]
            first = max(0, at.turn - schedule.depth + 1)
            learner.learn(turn, batches[first : at.turn])
            at.turn, at.turns = at.turn + 1, at.turns + 1
            observer.advance(len(turn.edits))
            if at.turn == len(batches):
                learner.end_epoch()
            if at.turns % schedule.check_every == 0 or at.turn == len(batches):
                _check(learner, at, validation, schedule, report)
                stopped = _is_stale(at, schedule)
            if keep is not None:
                keep(lambda: at.pack(learner))
        if not stopped:
            at.epoch, at.turn = at.epoch + 1, 0
    net = learner.net({}) if at.best is None else at.best
    return Fitted(net, at.turns, at.checks, stopped)


def _order(edits: Sequence[Edit], schedule: Schedule, epoch: int) -> list[Turn]:
    """The turns of an epoch."""
    generator = torch.Generator().manual_seed(derived(schedule.seed, epoch))
    drawn: list[Any] = [edits[i] for i in torch.randperm(len(edits), generator=generator).tolist()]
    return list(turns(drawn, schedule.edits_per_turn))[: schedule.turns]


def _is_stale(at: Position, schedule: Schedule) -> bool:
    return at.stale >= schedule.patience


def _check(
    learner: Learning,
    at: Position,
    validation: Sequence[Edit],
    schedule: Schedule,
    report: Callable[[ValidationCheck], None] | None,
) -> None:
    """Look at the validation rows, if the net has changed since the last look."""
    if not validation or learner.steps_taken() == at.checked:
        return
    at.checked = learner.steps_taken()
    values = learner.losses(list(turns(validation, schedule.edits_per_turn)))
    if not values:
        return
    own, rephrased, unrelated = values
    check = ValidationCheck(
        at.turns,
        rephrased.loss + schedule.drift * unrelated.loss,
        own.agreement,
        rephrased.agreement,
        unrelated.agreement,
    )
    at.checks.append(check)
    if check.loss <= min(each.loss for each in at.checks):
        at.best, at.stale = learner.net({}), 0
    else:
        at.stale += 1
    if report is not None:
        report(check)

r"""Anchored: facts that are answered in every form, by a model that stays what it was.

The default editor of this package, made here on UltraEdit's plan (Gu et al. 2025): no training, no
marked subjects, statistics of constant size, a closed-form change per turn from the keys and the
gradients of one forward and one backward pass. What differs: docs/design/012-anchored.md.

One turn, for each edited linear layer (row = one token of one text; a text is a fact in one form):

    L            mean loss of the pass's texts, H their keys (n, d_in), G = dL/d(outputs) (n, d_out)
    C            = anchors' mean h h^T + retention * sum h h^T of earlier turns
                   + neighbors * sum h h^T of the same questions on other subjects
    F            = anchors' mean g g^T, g the gradients of labels drawn from the model itself
    Delta_1      = -(C + damping I)^-1  H^T G  (F + damping I)^-1                              (a)
    eta          = step_share * L / -<H^T G, Delta_1>, summed over all layers                  (b)
    W           += eta Delta_1                                                                 (c)

and again from the weights that this left, until L is at most `written` and no fact lags behind, or
`passes` are done. Beside its own words, each fact comes in another wording every other pass; texts
that are written rest; what a chat template puts in front of every fact is read once for many.

(a) is a natural-gradient step with the Fisher information of everything *but* the edits, in its
Kronecker-factored form (Martens and Grosse 2015, https://arxiv.org/abs/1503.05671, equation 23): of
all changes that lower the loss equally, the one that least moves what the model says to general
questions and to the facts of earlier turns. The sum over earlier turns makes turn after turn the
same problem as all turns at once, as recursive least squares has it (RLSEdit, arXiv 2601.15686).
(b) is Polyak's step length, the least loss being near 0 (Polyak 1987, section 5.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import damped_inverse
from ultraedit.core.types import (
    Additive,
    Encoded,
    Form,
    Host,
    ModuleShape,
    State,
    TracedRows,
    Turn,
)
from ultraedit.editors.families.normalized import require_positive

FORMS: Mapping[str, tuple[Form, ...]] = {
    "plain": ("plain",),
    "chat": ("chat",),
    "both": ("plain", "chat"),
}
"""In which forms a fact is written, by the option `form`."""

RECOVERY = 1.4
"""By how much a share that was halved grows again with each pass that lowered the loss."""

LAGGING = 5
"""How many times the mean loss at which a turn ends a single one of the facts' own texts may have
then. At 0.15 that is about the loss of a token beside another one that is as likely."""

NO_ANCHORS = "none"
"""Value of `anchors` for none."""

ANCHOR_ROWS = 1200
"""Tokens of earlier turns that all anchors together weigh as much as, whatever their number."""


@dataclass(frozen=True, kw_only=True)
class Anchored:
    """The anchored editor. Its memory is two moment matrices per module, however many facts.

    Raises:
        ConfigError: If a number is out of range, or a name is not one of those listed.
    """

    form: Literal["plain", "chat", "both"] = "both"
    """How facts are written: the prompt as it is, as a user's question in the model's chat
    template, or both, where the model has a template."""

    wordings: float = 0.5
    """How many other wordings of each fact are written in each pass beside its own, on average, in
    turn from those that patterns make: the template writer's, the prompt with words left out, the
    prompt behind a short sentence. Never one that is scored. Larger generalizes more, keeps less
    and takes longer."""

    neighbors: float = 4.0
    """Weight in C, for the facts' own turn, of a token of the same question on another subject; see
    `retention`. Larger keeps the answers of such questions and writes less."""

    anchors: str = "general"
    """General prompts whose answers hold the model in place: ``general`` for the 300 of the
    package, the path of a file with a prompt on each line, or ``none``. In the place of those that
    a tokenizer of few words cannot read, the model is held to texts that it writes by itself."""

    anchor_tokens: int = 8
    """How many tokens of its own answer to each anchor the model is held to."""

    passes: int = 12
    """How often a turn is gone through at most, each time from the weights that the time before
    left. Larger writes more."""

    written: float = 0.15
    """Mean loss of a turn's texts, in nats per answer token, at which it needs no further pass,
    where no text of a fact's own has more than `LAGGING` times as much. Smaller writes more and
    disturbs more."""

    rested: float = 0.05
    """Loss of a text, in nats per answer token, at which the next pass goes without it. Larger is
    faster and writes some facts less."""

    step_share: float = 0.7
    """Share of the loss that a pass would take away if the loss were linear. Larger needs fewer
    passes and overshoots more easily."""

    damping: float = 1e-4
    """What is added to the diagonal of C, relative to its mean. Larger changes less where anchors
    say little, and protects them less."""

    gradient_damping: float = 1.0
    """The same for F. Larger looks less at which outputs matter to the anchors."""

    retention: float = 3.0
    """Weight of a token of an earlier turn in C, where all anchors together have that of
    `ANCHOR_ROWS` tokens. Larger keeps earlier facts and writes new ones less."""

    def __post_init__(self) -> None:
        """Check the options."""
        require_positive(self, "step_share", "damping", "gradient_damping")
        for name, least in (("passes", 1), ("anchor_tokens", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        for name in ("written", "rested", "wordings", "neighbors", "retention"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if self.form not in FORMS:
            raise ConfigError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}.")

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The moments of anchors and earlier turns, and what a turn needs of them."""
        squares = [shape.d_in**2 for shape in shapes]
        both = 4 * sum(shape.d_in**2 + shape.d_out**2 for shape in shapes)
        kept = {
            "second moments of inputs and gradients": both,
            "their inverses, while a turn is made": both,
            "one of them in float64": 4 * 8 * max(squares),
            "changes of a turn": 2 * 4 * sum(shape.d_in * shape.d_out for shape in shapes),
        }
        return kept | ({"key moments of earlier turns": 4 * sum(squares)} if self.retention else {})

    def init(self, host: Host) -> State:
        """What the anchors say of every edited layer: C without earlier turns, and F.

        One forward and one backward pass of the anchors with the model's own answers. Without
        anchors both are zero, and the first turn's step is that of plain gradient descent.
        """
        if self.anchors == NO_ANCHORS:
            return {
                f"{kind}/{path}": torch.zeros(size, size)
                for path, shape in host.modules.items()
                for kind, size in (("keys", shape.d_in), ("fisher", shape.d_out))
            }
        with host.keeping_states():
            texts = host.own_answers(self.anchors, FORMS[self.form], self.anchor_tokens)
            traced = host.trace_texts(texts, sampled=True)
        state = {}
        for path, signal in traced.signals.items():
            rows = len(signal.keys)
            state[f"keys/{path}"] = signal.keys.T @ signal.keys * (ANCHOR_ROWS / rows)
            state[f"fisher/{path}"] = signal.grads.T @ signal.grads / rows
        return state

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Go through the turn until it is written, then remember its keys."""
        if not turn.edits:
            return Additive({}), state
        own = host.texts(turn.edits, FORMS[self.form])
        others = host.other_wordings(turn.edits, FORMS[self.form]) if self.wordings else []
        held = dict(state) | self._beside(host, turn, state)
        scales = {path: self._preconditioners(path, held) for path in host.modules}
        change: dict[str, Tensor] = {}
        last: dict[str, Tensor] = {}
        losses = torch.full((len(own),), math.inf, dtype=torch.float64)
        awake, share = list(range(len(own))), self.step_share
        measured: set[int] = set()  # Texts whose entry in `losses` is of before the last step.
        with host.keeping_states():
            for made in range(self.passes + 1):
                drawn = list(self._drawn(others, made))
                with host.patched(Additive(change)):
                    traced = host.trace_texts([*(own[at] for at in awake), *drawn])
                now = traced.losses[: len(awake)]
                both = torch.tensor([at in measured for at in awake])
                if now[both].sum() > losses[awake][both].sum():
                    # The last step went too far: half of it, and half as far next.
                    share /= 2
                    last = {path: step / 2 for path, step in last.items()}
                    change = {path: change[path] - step for path, step in last.items()}
                    continue
                losses[awake], measured = now, set(awake)
                every = torch.cat([losses, traced.losses[len(awake) :]])
                lags = losses.max() > LAGGING * self.written
                if (every.mean() <= self.written and not lags) or made == self.passes:
                    break
                last = self._descent(traced, scales, share * float(traced.losses.mean()))
                share = min(self.step_share, share * RECOVERY)
                change = {path: change.get(path, 0) + step for path, step in last.items()}
                awake = self._awake(losses, awake)
            if len(awake) < len(own):
                with host.patched(Additive(change)):
                    traced = host.trace_texts(own)
        return Additive(change), dict(state) | self._remembered(traced, state)

    def _beside(self, host: Host, turn: Turn, state: State) -> dict[str, Tensor]:
        """C with the keys of the neighbors of a turn's facts, for this turn alone."""
        texts = host.neighbors(turn.edits) if self.neighbors else []
        if not texts:
            return {}
        moments = {}
        for path, signal in host.trace_texts(texts, sampled=True).signals.items():
            moment = signal.keys.T @ signal.keys * self.neighbors  # (d_in, d_in)
            moments[f"keys/{path}"] = state[f"keys/{path}"].to(moment.device) + moment
        return moments

    def _awake(self, losses: Tensor, awake: Sequence[int]) -> list[int]:
        """Which of the facts' own texts are in the next pass: one that is written rests for one."""
        was = set(awake)
        chosen = [at for at, loss in enumerate(losses) if loss > self.rested or at not in was]
        return chosen or list(range(len(losses)))

    def _drawn(self, others: Sequence[Sequence[Encoded]], made: int) -> Iterator[Encoded]:
        """The other wordings of a pass: the next ones of each fact, from the first again.

        Each fact begins one later than the one before it, so that every pass has all forms, and
        where there is less than one a pass, so that every pass has its share of the facts.
        """
        for fact, texts in enumerate(others):
            if texts:
                count = min(self.wordings, len(texts))
                # How many each fact has had before this pass and after it, in whole texts.
                had, has = (math.floor(fact * count % 1 + at * count) for at in (made, made + 1))
                yield from (texts[(fact + place) % len(texts)] for place in range(had, has))

    def _preconditioners(self, path: str, state: State) -> tuple[Tensor, Tensor]:
        """Inverses of C and F with their damping. Shapes (d_in, d_in) and (d_out, d_out)."""
        return (
            damped_inverse(state[f"keys/{path}"], self.damping, name=path),
            damped_inverse(state[f"fisher/{path}"], self.gradient_damping, name=path),
        )

    def _descent(
        self, traced: TracedRows, scales: Mapping[str, tuple[Tensor, Tensor]], wanted: float
    ) -> dict[str, Tensor]:
        """Changes that lower the mean loss by `wanted` nats to first order; (a) and (b)."""
        texts = len(traced.losses)
        units, slope = {}, 0.0
        for path, signal in traced.signals.items():
            gradient = signal.keys.T @ signal.grads / texts  # dL/dW, (d_in, d_out)
            left, right = (scale.to(gradient.device) for scale in scales[path])
            if len(signal.keys) < min(gradient.shape):  # Few rows: their product is formed last.
                units[path] = (left @ signal.keys.T) @ (signal.grads @ right) / -texts
            else:
                units[path] = -(left @ gradient @ right)
            slope += float((gradient * units[path]).sum())
        if slope >= 0:  # Only where every gradient is zero: both preconditioners are positive.
            return {path: torch.zeros_like(unit) for path, unit in units.items()}
        return {path: unit * (wanted / -slope) for path, unit in units.items()}

    def _remembered(self, traced: TracedRows, state: State) -> dict[str, Tensor]:
        """C with the keys of this turn."""
        if not self.retention:
            return {}
        remembered = {}
        for path, signal in traced.signals.items():
            moment = signal.keys.T @ signal.keys * self.retention  # (d_in, d_in)
            remembered[f"keys/{path}"] = state[f"keys/{path}"].to(moment.device) + moment
        return remembered

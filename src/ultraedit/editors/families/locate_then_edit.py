"""What MEMIT and AlphaEdit share: states that say the target, and their way into several layers.

Meng et al. (2022), https://arxiv.org/abs/2210.07229, sections 4.3 and 4.4. With L the last of the
edited layers:

    z_i   = h_i + delta_i    output of decoder layer L at the last token of the subject of edit i,
                             moved by gradient descent until the model says the target
    for each edited layer l, from the lowest to L, with the changes so far in place:
        K     inputs of layer l at that token, averaged over contexts       (n, d_in)
        R     = (Z - outputs of decoder layer L now) / layers that are left  (n, d_out),
                as far as a norm behind layer l lets them through
        Delta = what the editor makes of K and R

Differs from the released code: the search goes over all edits of a turn at once, with the same
optimum; the contexts are written greedily, so that a run can be repeated and resumed; the subject
is found by its characters, not by counting the tokens of its parts. The released code has no norm
in mind between a layer and the hidden states (`trace.post_norm`); without one nothing differs.
``protocol="official"`` takes the divergence of the search, and C, as the code has them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import (
    Additive,
    Edit,
    Host,
    Lookup,
    LowRank,
    ModuleShape,
    OffsetGoal,
    OffsetSearch,
    State,
    Turn,
)
from ultraedit.editors.families.remembered_texts import pack_texts, unpack_texts, written
from ultraedit.editors.families.subjects import Span, SubjectSource, find_subjects

STARTS = ("The", "Therefore", "Because", "I", "You")
"""What the model is given to write the contexts from."""

CONTEXT_TOKENS = 9
"""Tokens that it adds to each."""

ESSENCE = "{} is a"
"""What is said about a subject that should not change."""

Change: TypeAlias = Tensor | LowRank


@dataclass(frozen=True, kw_only=True)
class LocateThenEdit(ABC):
    """The options and the turn of an editor of this family; `solve` is each one's own."""

    lr: float = 0.5
    """Step size of the search for the state that says the target. Adam's, unitless."""

    steps: int = 25
    """Most losses that the search looks at. More takes longer and finds more; an edit that is
    found sooner stops by itself."""

    clamp: float = 4.0
    """Most that a state may move, relative to its length. Larger writes more and harms more."""

    weight_decay: float = 1e-3
    """Weight of the length of the move in the search. Larger moves less."""

    kl: float = 0.0625
    """Weight, in the search, of what the model says of the subject in general."""

    contexts: int = 5
    """Texts of the model's own put before each prompt, so that the edit holds in context."""

    protocol: Literal["paper", "official"] = "paper"
    """The divergence KL(p_0 || p_delta), and a second moment that a short text cannot leave
    singular (paper); or KL(p_delta || p_0), and the second moment as it is (official)."""

    subject: SubjectSource = "given"
    """``given`` refuses rows without a subject that stands in the prompt; ``auto`` takes, for
    these, the longest span that prompt and rephrase share."""

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("lr", "clamp", "ridge"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, got {value}.")
        for name in ("weight_decay", "kl"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be a number of at least 0, got {value}.")
        if self.steps < 2:
            raise ConfigError(f"steps must be at least 2, got {self.steps}.")
        if not 0 <= self.contexts <= len(STARTS):
            raise ConfigError(f"contexts must be 0 to {len(STARTS)}, got {self.contexts}.")
        if self.protocol not in ("paper", "official"):
            raise ConfigError(f"protocol must be paper or official, got {self.protocol!r}.")
        if self.subject not in get_args(SubjectSource):
            raise ConfigError(f"subject must be given or auto, got {self.subject!r}.")

    @abstractmethod
    def solve(self, host: Host, path: str, keys: Tensor, residuals: Tensor, state: State) -> Change:
        """The change of one layer.

        Args:
            host: The model, with the lower layers changed already.
            path: The layer.
            keys: Its inputs K, a row per edit. Shape (n, d_in).
            residuals: Wanted change of its outputs R. Shape (n, d_out).
            state: What the editor remembers.
        """

    def remember(
        self, host: Host, changes: Mapping[str, Change], edits: Sequence[Edit], state: State
    ) -> State:
        """The state after a turn. Nothing new unless an editor says otherwise."""
        return state

    def check(self, edits: Sequence[Edit]) -> None:
        """Refuse edits whose subject is not known.

        Raises:
            DataError: If there are any, naming them.
        """
        find_subjects(edits, self.subject)

    def init(self, host: Host) -> State:
        """The contexts, as the unedited model writes them."""
        self._ascending(host)
        starts = STARTS[: self.contexts]
        texts = written(host, starts, [CONTEXT_TOKENS] * len(starts))
        return {"contexts": pack_texts([f"{text}. " for text in texts])}

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Find the states that say the targets, and spread them over the layers."""
        if not turn.edits:
            return Additive({}), state
        paths = self._ascending(host)
        prompts = self.prompts(turn.edits, state)
        plain = [lookups[0] for lookups in prompts]
        goals = self.goals(turn.edits, state)
        searched = host.search_offsets(paths[-1], goals, self.search)
        wanted = searched.outputs + searched.offsets  # (n, d_out)
        changes: dict[str, Change] = {}
        for place, path in enumerate(paths):
            self._check_width(host, path, wanted)
            with host.patched(Additive(changes)):
                keys = mean_inputs(host, [path], prompts)[path]
                now = host.outputs_at(paths[-1], plain)
                moves = (wanted - now) / (len(paths) - place)
                residuals = host.invert_post_norm(path, plain, moves)
            changes[path] = self.solve(host, path, keys, residuals, state)
        return Additive(changes), self.remember(host, changes, turn.edits, state)

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """The second moments of its layers' inputs."""
        squares = [shape.d_in**2 for shape in shapes]
        return {
            "second moments": 4 * sum(squares),
            # The matrix, the identity, their mixture and its factor, or its eigenvectors.
            "one of them in float64": 4 * 8 * max(squares),
        }

    def prompts(self, edits: Sequence[Edit], state: State) -> list[tuple[Lookup, ...]]:
        """Each edit's prompt, plain and after each context, with the place of its subject."""
        contexts = ["", *unpack_texts(state["contexts"])]
        return [
            tuple(_after(context, edit.prompt, span) for context in contexts)
            for edit, span in zip(edits, find_subjects(edits, self.subject), strict=True)
        ]

    def goals(self, edits: Sequence[Edit], state: State) -> list[OffsetGoal]:
        """What the search should bring about, per edit."""
        return [
            OffsetGoal(lookups, edit.target, _essence(lookups[0]))
            for lookups, edit in zip(self.prompts(edits, state), edits, strict=True)
        ]

    @property
    def search(self) -> OffsetSearch:
        """How the states are searched."""
        return OffsetSearch(
            lr=self.lr,
            steps=self.steps,
            weight_decay=self.weight_decay,
            kl=self.kl,
            clamp=self.clamp,
            kl_from="unedited" if self.protocol == "paper" else "edited",
        )

    def _ascending(self, host: Host) -> list[str]:
        """The edited layers from the lowest decoder layer to the highest.

        Raises:
            ConfigError: If two of them are in the same decoder layer.
        """
        numbers = {path: host.layer_number(path) for path in host.modules}
        if len(set(numbers.values())) < len(numbers):
            raise ConfigError(
                f"This editor changes one matrix per decoder layer, but {', '.join(numbers)} has "
                "more. Choose with --modules, such as 'layers.[4-8].mlp.down_proj'."
            )
        return sorted(numbers, key=numbers.__getitem__)

    def _check_width(self, host: Host, path: str, wanted: Tensor) -> None:
        width = host.modules[path].d_out
        if width != wanted.shape[1]:
            raise ConfigError(
                f"{path} has {width} outputs, but this editor needs a matrix that leads back into "
                f"the {wanted.shape[1]} hidden ones, such as mlp.down_proj. Choose with --modules."
            )


def mean_inputs(
    host: Host, paths: Sequence[str], prompts: Sequence[Sequence[Lookup]]
) -> dict[str, Tensor]:
    """Inputs of layers at the lookup tokens: the plain prompt for one half, contexts the other.

    Args:
        host: The model.
        paths: The layers.
        prompts: Per edit the plain prompt and those after a context.

    Returns:
        By path a row per edit. Shape (n, d_in).
    """
    each = len(prompts[0])
    inputs = host.inputs_at(paths, [lookup for lookups in prompts for lookup in lookups])
    means = {}
    for path, rows in inputs.items():
        rows = rows.view(len(prompts), each, -1)
        plain = rows[:, 0]
        means[path] = plain if each == 1 else (plain + rows[:, 1:].mean(dim=1)) / 2
    return means


def _after(context: str, prompt: str, span: Span) -> Lookup:
    before = len(context)
    return Lookup(context + prompt, before + span.start, before + span.end)


def _essence(lookup: Lookup) -> Lookup:
    subject = lookup.text[lookup.start : lookup.end]
    return Lookup(ESSENCE.format(subject), 0, len(subject))

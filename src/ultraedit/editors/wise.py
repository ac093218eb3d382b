r"""WISE: edits go to side memories of one layer, and a router says which sequences they are for.

Wang et al. (2024), https://arxiv.org/abs/2405.14768, sections 2.3 and 2.4. W is the layer's weight,
W' the side memory, a copy of it. For each edit, one after the other, with x its prompt after some
contexts and u one unrelated text:

    loss = mean_x -log p(target | x; W') + L_act(x, u)        L_act: `activation_loss`
    W'  <- W' - lr (mask * dloss/dW' + decay W'),  up to n_iter times

The mask is random, and the same for all edits of a shard; every `save_freq` edits the shard is
closed and W' begins at W again; every `merge_freq` edits the newest shards are merged (`ties`).
A sequence gets the memory that moves it most, if it moves it at least act_ratio times as far as
the least of the memory's own edits was moved, and W otherwise (`routing`).

The accumulated change of the layer is W' - W; memories that are closed are in the state, and
`view` lays all of them over the unedited model.

Differs from the released code: sequences are routed one by one, by the tokens of their prompts,
and keep their choice while they are continued; distances are of the same tokens. With
``protocol="official"`` the choice is made per call, for all of a batch, and by all tokens, and the
memory is written as the code writes it (`_Writer.write_as_released`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive, Edit, Host, Memory, ModuleShape, Routed, State, Turn
from ultraedit.editors.families.activation_loss import Margins, Side, activation_gradient
from ultraedit.editors.families.memory_shards import MemoryStore, most_memories
from ultraedit.editors.families.remembered_texts import pack_texts, unpack_texts, written
from ultraedit.editors.families.unrelated_texts import read_texts, split_text
from ultraedit.editors.seeds import derived

STARTS = ("I", "You", "Because", "Yes", "Q:")
"""What the model is given to write the contexts from."""

LENGTHS = (5, 10)
"""Tokens of a context."""

STILL, LEARNED = 1e-4, 0.02
"""An edit is learned once its loss is below the second and moves by less than the first."""


@dataclass(frozen=True, kw_only=True)
class WISE:
    """The WISE editor. It remembers a matrix per closed memory.

    Raises:
        ConfigError: If an option is out of its range.
    """

    protocol: Literal["paper", "official"] = "paper"
    """Route each sequence by its prompt (paper), or every call of the model as a whole (official),
    as the released code does, and write with its contexts, its loss and its threshold."""

    edit_lr: float = 1.0
    """Step size of plain gradient descent on the side memory. Larger writes more."""

    n_iter: int = 70
    """Most steps per edit."""

    alpha: float = 5.0
    """Most that an unrelated text should be moved. Smaller protects more."""

    beta: float = 20.0
    """Least that an edit's prompt should be moved. Larger makes edits easier to tell apart."""

    gamma: float = 10.0
    """Least difference between the two."""

    act_ratio: float = 0.88
    """Share of the least distance of its own edits at which a memory answers. Smaller answers more
    rephrased prompts, and more that are not meant."""

    mask_ratio: float = 0.2
    """Share of the side memory that the edits of a shard may change."""

    save_freq: int = 500
    """Edits of a shard."""

    merge_freq: int = 1000
    """Edits after which the newest shards are merged; a multiple of save_freq."""

    densities: float = 0.53
    """Share of each shard that a merge keeps."""

    retrieve: bool = True
    """Keep one memory per merge (true), or merge them all into one (false)."""

    norm_constraint: float | None = 1.0
    """Most that an entry of the side memory may differ from the layer's own weight."""

    weight_decay: float = 1e-5
    """Pull of every entry of the side memory to zero, per step and unit of edit_lr."""

    contexts: int = 10
    """Texts of the model's own put before each prompt, so that the edit holds in context. 0 takes
    the plain prompt alone, which is fastest; at most 10."""

    locality: str = "built-in"
    """Unrelated texts, from which each edit draws: a list of the package's, or the path of a file
    with one a line."""

    unrelated: int = 1
    """Unrelated texts that are drawn per edit. More protect more, and cost little."""

    seed: int = 0
    """What the masks and the unrelated texts are drawn from. A run fills in its own."""

    def __post_init__(self) -> None:
        """Check the options."""
        if self.protocol not in ("paper", "official"):
            raise ConfigError(f"protocol must be paper or official, got {self.protocol!r}.")
        for name in ("edit_lr", "act_ratio", "norm_constraint"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, got {value}.")
        for name in ("alpha", "beta", "gamma", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be zero or a positive number, got {value}.")
        for name in ("mask_ratio", "densities"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ConfigError(f"{name} must be above 0 and at most 1, got {value}.")
        for name in ("n_iter", "save_freq", "merge_freq", "unrelated"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.merge_freq % self.save_freq:
            raise ConfigError(
                f"merge_freq must be a multiple of save_freq, got {self.merge_freq} and "
                f"{self.save_freq}."
            )
        if not 0 <= self.contexts <= len(STARTS) * len(LENGTHS):
            raise ConfigError(f"contexts must be 0 to 10, got {self.contexts}.")

    @property
    def margins(self) -> Margins:
        """What the distances should keep to."""
        return Margins(self.alpha, self.beta, self.gamma)

    def init(self, host: Host) -> State:
        """No memories; the contexts, as the unedited model writes them; the unrelated texts."""
        self._layer(host)
        begun = [(start, length) for length in LENGTHS for start in STARTS][: self.contexts]
        # The released code counts what the model adds, this one the start too.
        own, end = (0, " ") if self.protocol == "official" else (1, ". ")
        texts = written(host, [start for start, _ in begun], [length - own for _, length in begun])
        return MemoryStore().pack() | {
            "contexts": pack_texts([f"{text}{end}" for text in texts]),
            "locality": pack_texts(read_texts(self.locality, host.read_lines)),
        }

    @torch.no_grad()
    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Write the edits into the side memory, one by one, closing it where it is full."""
        if not turn.edits:
            return Additive({}), state
        path = self._layer(host)
        before = host.change(path)
        writer = _Writer(self, host, path, state)
        store, side = MemoryStore.unpack(state), before.clone()
        for edit in turn.edits:
            side, distance = writer.write(edit, side, store.edits)
            store.least = min(store.least, distance)
            store.edits += 1
            if store.edits % self.save_freq == 0:
                store.close(side)
                side = torch.zeros_like(side)
            if store.edits % self.merge_freq == 0:
                count = self.merge_freq // self.save_freq
                store.merge(count, self.densities, into_one=not self.retrieve)
        texts = {name: state[name] for name in ("contexts", "locality")}
        return Additive({path: side - before}), store.pack() | texts

    def view(self, host: Host, state: State) -> Routed:
        """The unedited model with all memories, the side memory first."""
        path = self._layer(host)
        store = MemoryStore.unpack(state)
        side = Memory(host.change(path).clone(), self.act_ratio * store.least)
        closed = [Memory(s.change, self.act_ratio * s.least) for s in store.shards]
        per: Literal["sequence", "batch"] = "sequence" if self.protocol == "paper" else "batch"
        return Routed(path, (side, *closed), per)

    def extra_memory(
        self, shapes: Sequence[ModuleShape], edits: int | None = None, itemsize: int = 4
    ) -> dict[str, int]:
        """A float32 matrix per closed memory, and all of them while the model is asked."""
        size = sum(shape.d_in * shape.d_out for shape in shapes)
        # The unedited weight, the side memory, its gradient, the loss's own, and the mask.
        kept = {"float32 copies while an edit is written": 4 * 4 * size + size}
        if edits is None:
            each = f"each closed memory, one per {self.merge_freq:,} edits"
            return kept | {each: 4 * size, "its copy while the model is asked": itemsize * size}
        closed = most_memories(edits, self.save_freq, self.merge_freq, retrieve=self.retrieve)
        if closed:
            kept[f"closed memories, at most {closed:,}"] = 4 * closed * size
        return kept | {"all memories while the model is asked": itemsize * (closed + 1) * size}

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """How many memories there are, and how much they have to be moved to answer."""
        store = MemoryStore.unpack(state)
        least = [store.least, *(shard.least for shard in store.shards)]
        shown = ", ".join(f"{self.act_ratio * each:.3g}" for each in least if math.isfinite(each))
        closed = len(store.shards)
        return {
            "memories": f"a side memory and {closed} closed, of {store.edits:,} edits",
            "thresholds": shown or "none",
        }

    def mask(self, shape: tuple[int, int], edits: int) -> Tensor:
        """Which entries of the side memory edits may change: the same ones within a shard.

        Args:
            shape: Of the memory.
            edits: Edits made before.
        """
        drawn = torch.Generator().manual_seed(derived(self.seed, edits // self.save_freq))
        return torch.rand(shape, generator=drawn) < self.mask_ratio

    def _layer(self, host: Host) -> str:
        """The edited layer.

        Raises:
            ConfigError: If there are more.
        """
        if len(host.modules) != 1:
            raise ConfigError(
                f"WISE edits one layer, but {len(host.modules)} were chosen. Choose one with "
                "--modules, such as 'layers.27.mlp.down_proj'."
            )
        return next(iter(host.modules))


class _Writer:
    """Writes edits into the side memory of one layer."""

    def __init__(self, editor: WISE, host: Host, path: str, state: State) -> None:
        self._editor, self._host, self._path = editor, host, path
        self._contexts = ["", *unpack_texts(state["contexts"])]
        self._texts = unpack_texts(state["locality"])
        self._base = host.weight(path) - host.change(path)
        self._activation = host.activation()
        self._masks: dict[int, Tensor] = {}

    def write(self, edit: Edit, side: Tensor, edits: int) -> tuple[Tensor, float]:
        """Descend on the loss of one edit.

        Args:
            edit: The edit.
            side: The side memory's change. Shape (d_in, d_out).
            edits: Edits made before.

        Returns:
            The change afterwards, and the mean distance of the edit's prompts.
        """
        editor, base = self._editor, self._base
        if editor.protocol == "official":
            return self.write_as_released(edit, side, edits)
        unrelated = self._host.hold(self._path, self._unrelated(edits), keep=True)
        held = self._host.hold(self._path, self._prompts(edit))
        inside, outside = (
            Side(each, base, self._activation, prompts_only=True) for each in (held, unrelated)
        )
        mask = self._mask(edits).to(base)
        weight, last = base + side, math.inf
        for _ in range(editor.n_iter):
            losses, grads = held.gradients(weight)
            value, gradient, _ = activation_gradient(inside, outside, weight, editor.margins)
            loss = float(losses.mean() + value)
            if abs(last - loss) <= STILL and loss <= LEARNED:
                break
            last = loss
            gradient.addmm_(held.inputs.T, grads)
            weight = self._stepped(weight, gradient, mask)
        return weight - base, float(inside.distances(inside.outputs(weight)).mean())

    def write_as_released(self, edit: Edit, side: Tensor, edits: int) -> tuple[Tensor, float]:
        """Descend as the released code does, in one batch with the unrelated text.

        Its distances are means over all columns of the batch, padding too. It stops where the two
        losses *before* the present one are close and small, and what it notes as the distance of an
        edit is that before its last step.

        Args:
            edit: As in `write`, and so is the rest.
            side: The side memory's change. Shape (d_in, d_out).
            edits: Edits made before.
        """
        editor, base = self._editor, self._base
        prompts = self._prompts(edit)
        held = self._host.hold(self._path, prompts, beside=self._unrelated(edits))
        inside, outside = (
            Side(held, base, self._activation, prompts_only=False, rows=rows)
            for rows in (slice(len(prompts)), slice(len(prompts), None))
        )
        mask = self._mask(edits).to(base)
        weight = base + side
        before, last, distance = 0.0, math.inf, 0.0
        for _ in range(editor.n_iter):
            losses, grads = held.gradients(weight)
            value, gradient, away = activation_gradient(inside, outside, weight, editor.margins)
            distance = float(away)
            if abs(last - before) <= STILL and last <= LEARNED:
                break
            before, last = last, float(losses.mean() + value)
            gradient.addmm_(held.inputs.T, grads)
            weight = self._stepped(weight, gradient, mask)
        return weight - base, distance

    def _prompts(self, edit: Edit) -> list[tuple[str, str]]:
        """The prompt, plain and after each context, with the target."""
        return [(context + edit.prompt, edit.target) for context in self._contexts]

    def _stepped(self, weight: Tensor, gradient: Tensor, mask: Tensor) -> Tensor:
        """One step of plain gradient descent within the mask and the constraint."""
        editor, base = self._editor, self._base
        step = gradient.mul_(mask).add_(weight, alpha=editor.weight_decay)
        weight = weight - editor.edit_lr * step
        if editor.norm_constraint is not None:
            most = editor.norm_constraint
            weight = torch.minimum(torch.maximum(weight, base - most), base + most)
        return weight

    def _unrelated(self, edits: int) -> list[tuple[str, str]]:
        drawn = random.Random(derived(self._editor.seed, edits))
        count = min(self._editor.unrelated, len(self._texts))
        return [split_text(text) for text in drawn.sample(self._texts, count)]

    def _mask(self, edits: int) -> Tensor:
        shard = edits // self._editor.save_freq
        if shard not in self._masks:
            shape = (self._base.shape[0], self._base.shape[1])
            self._masks = {shard: self._editor.mask(shape, edits)}
        return self._masks[shard]

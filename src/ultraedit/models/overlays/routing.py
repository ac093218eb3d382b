r"""Routing: per sequence, a layer answers with its own weight or with one of several memories.

Memories are weights that would take the place of a layer's own (WISE, Wang et al. 2024,
https://arxiv.org/abs/2405.14768, section 2.3.1). Which sequence gets which is read off the layer
itself: with a its input, W its weight, W_s a memory and act the nonlinearity of the model's MLP,

    d_s = mean over tokens of || act(W_s a) - act(W a) ||        (equation 3)

is large where the memory was written for something like the sequence. A memory answers where d_s
is at least its threshold, and of several that would the one with the largest.

A sequence is decided on once, by the tokens of its prompt, and keeps that choice while it is
continued with a cache. So a batch gives what each of its sequences gives alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import Activation, activation_distances
from ultraedit.models.attached import Overlay, attach, detach, overlays_on

Per = Literal["sequence", "batch"]
"""What is decided on together: each sequence by its prompt, kept while it is continued; or, as in
the released code of WISE, everything that is in one call of the model."""

LONG = 100
"""Tokens above which a sequence's largest distance counts in place of the mean, as there."""

_ATTRIBUTE = "ultraedit_router"
"""Where a user who has the model finds its router."""


class RoutedWeight(NamedTuple):
    """A weight that a layer may use in place of its own."""

    weight: Tensor
    """In the model's dtype. Shape (d_in, d_out)."""

    threshold: float
    """Least distance at which it answers."""


def of_sequences(values: Tensor, counted: Tensor) -> Tensor:
    """One number per sequence: the mean over its tokens, or their largest where it is long.

    Args:
        values: Distances of tokens. Shape (rows, length).
        counted: Which tokens count, at least one a row. bool, shape (rows, length).

    Returns:
        Shape (rows,).
    """
    sizes = counted.sum(dim=1)
    mean = (values * counted).sum(dim=1) / sizes.clamp(min=1)
    largest = values.masked_fill(~counted, 0).amax(dim=1)
    return torch.where(sizes > LONG, largest, mean)


class Router(Overlay):
    """Chooses a weight for each sequence that a layer sees, through hooks on a model."""

    def __init__(
        self,
        path: str,
        memories: Sequence[RoutedWeight],
        activation: str,
        function: Activation,
        per: Per = "sequence",
    ) -> None:
        """Say what to choose from.

        Args:
            path: The layer, as the model names it.
            memories: What may take the place of its weight. The first is asked first.
            activation: Name of the nonlinearity of the model's MLP.
            function: That nonlinearity.
            per: What is decided on together.
        """
        self.path = path
        self.memories = tuple(memories)
        self.activation = activation
        self.per = per
        self.chosen: Tensor | None = None
        """What the sequences of the last call got: 0 the layer's own weight, from 1 on a memory.
        Shape (rows,)."""
        self._function = function
        self._prompts: Tensor | None = None
        self._mask: Tensor | None = None
        self._holds = False
        self._held: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()

    def identity(self) -> Iterator[bytes | Tensor]:
        """Its memories, which are among the weights of the model, and their thresholds."""
        for memory in self.memories:
            yield f"{memory.threshold!r}\0".encode()
            yield memory.weight

    @contextmanager
    def deciding_by(self, prompts: Tensor) -> Iterator[None]:
        """Decide by some tokens of a batch alone.

        Args:
            prompts: Which tokens are the prompts'. bool, shape (rows, length).
        """
        self._prompts = prompts
        try:
            yield
        finally:
            self._prompts = None

    def attach(self, model: nn.Module) -> list[Any]:
        """Let a model be routed from now on. The handles of the hooks that do it.

        Raises:
            ConfigError: If it is routed already.
        """
        if router_of(model) is not None:
            raise ConfigError("This model has memories already; another router cannot be put on.")
        setattr(model, _ATTRIBUTE, self)
        attach(model, self)
        return [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.get_submodule(self.path).register_forward_hook(self._layer),
            model.register_forward_hook(self._after),
        ]

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Let a model be routed for a while."""
        handles = self.attach(model)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            delattr(model, _ATTRIBUTE)
            detach(model, self)

    def _before(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = _signature(type(model).forward).bind_partial(model, *args, **kwargs).arguments
        mask = given.get("attention_mask", kwargs.get("attention_mask"))
        self._mask = mask if isinstance(mask, Tensor) and mask.ndim == 2 else None
        past = given.get("past_key_values", kwargs.get("past_key_values"))
        self.chosen, self._holds = None, False
        if self.per == "sequence" and past is not None and past.get_seq_length() > 0:
            self.chosen = self._held.get(past)
            self._holds = self.chosen is not None

    def _after(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        past = getattr(output, "past_key_values", None)
        if past is not None and self.chosen is not None and self.per == "sequence":
            self._held[past] = self.chosen

    def _layer(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        inputs: Tensor = args[0]
        if inputs.ndim != 3:
            raise ConfigError(
                f"{self.path} does not see whole sequences, so nothing can be chosen for them."
            )
        bias = getattr(module, "bias", None)
        if self._holds:
            return self._continued(inputs, output, bias)
        return self._decided(inputs, output, bias)

    def _continued(self, inputs: Tensor, output: Tensor, bias: Tensor | None) -> Tensor:
        """What sequences get whose choice was made before."""
        assert self.chosen is not None
        chosen = self.chosen
        if len(chosen) != len(inputs):
            if len(inputs) % len(chosen):
                raise ConfigError(
                    f"The cache is of {len(chosen)} sequences, the call of {len(inputs)}: it is "
                    "not known which is which. Begin anew without the cache."
                )
            chosen = chosen.repeat_interleave(len(inputs) // len(chosen))
        for number, memory in enumerate(self.memories, 1):
            here = (chosen == number).to(inputs.device)
            if bool(here.any()):
                ours = _linear(inputs, memory.weight, bias)
                output = torch.where(here[:, None, None], ours, output)
        self.chosen = chosen
        return output

    def _decided(self, inputs: Tensor, output: Tensor, bias: Tensor | None) -> Tensor:
        """Choose for every sequence, and give it what it gets."""
        chosen = torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
        best = torch.full((len(inputs),), -torch.inf, device=inputs.device)
        routed = output
        for number, memory in enumerate(self.memories, 1):
            ours = _linear(inputs, memory.weight, bias)
            apart = activation_distances(output.detach(), ours.detach(), self._function)
            distance = self._of_calls(apart)
            takes = (distance >= memory.threshold) & (distance > best)
            # The released code compares with the first memory also where that does not answer.
            counts = takes if self.per == "sequence" or number > 1 else torch.ones_like(takes)
            best = torch.where(counts, distance.to(best.dtype), best)
            chosen = torch.where(takes, number, chosen)
            routed = torch.where(takes[:, None, None], ours, routed)
        self.chosen = chosen
        return routed

    def _of_calls(self, values: Tensor) -> Tensor:
        """Distances of sequences, or of all of them together. Shape (rows,)."""
        if self.per == "batch":
            each = values.amax(dim=1) if values.shape[1] > LONG else values.mean(dim=1)
            return each.mean().expand(len(values))
        return of_sequences(values, self._counted(values))

    def _counted(self, values: Tensor) -> Tensor:
        """Which tokens of a call decide. bool, shape (rows, length)."""
        counted = torch.ones(values.shape, dtype=torch.bool, device=values.device)
        if self._mask is not None and self._mask.shape == values.shape:
            counted &= self._mask.to(values.device).bool()
        if self._prompts is not None:
            counted &= self._prompts.to(values.device)
        return counted


def router_of(model: nn.Module) -> Router | None:
    """The router of a model; None where its weights are all there is."""
    return next((each for each in overlays_on(model) if isinstance(each, Router)), None)


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    output = inputs @ weight
    return output if bias is None else output + bias


@cache
def _signature(forward: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(forward)

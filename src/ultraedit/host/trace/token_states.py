"""What linear layers read and decoder layers put out at single tokens of some texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ultraedit.core.encoding import Encoded
from ultraedit.core.errors import ConfigError
from ultraedit.host.trace.signals import batches


class TokenPlace(NamedTuple):
    """One token of a text."""

    ids: tuple[int, ...]
    """The text as token ids."""

    at: int
    """Index of the token, from 0."""


@torch.no_grad()
def values_at(
    model: nn.Module,
    places: Sequence[TokenPlace],
    *,
    inputs: Mapping[str, nn.Module] | None = None,
    outputs: Mapping[str, nn.Module] | None = None,
) -> dict[str, Tensor]:
    """Read inputs and outputs of modules at single tokens.

    The forward pass ends as soon as all of them have been read, and texts end at their token.

    Args:
        model: The language model.
        places: The tokens.
        inputs: Modules by name whose inputs are wanted.
        outputs: Modules by name whose outputs are wanted. The names differ from those of `inputs`.

    Returns:
        By name the values, float32, one row per place in the given order. Shape (n, d).

    Raises:
        ConfigError: If a module is not reached.
    """
    inputs, outputs = inputs or {}, outputs or {}
    read = _Reader(inputs, outputs)
    # A text ends at its token: by causality what follows changes nothing there.
    items = [Encoded(place.ids[: place.at + 1], (0,)) for place in places]
    collected: dict[str, list[Tensor]] = {name: [] for name in (*inputs, *outputs)}
    order: list[int] = []
    with read.attached():
        for indices, batch in batches(model, items):
            read.begin(batch.positions)
            with suppress(_AllRead):
                model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
                )
            for name, values in read.end().items():
                collected[name].append(values)
            order.extend(indices)
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
    return {
        name: torch.cat(values)[back.to(values[0].device)]
        for name, values in collected.items()
        if values
    }


class _AllRead(Exception):
    """Ends a forward pass whose remaining layers nobody looks at."""


class _Reader:
    """Reads at the positions of a batch through hooks."""

    def __init__(self, inputs: Mapping[str, nn.Module], outputs: Mapping[str, nn.Module]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.positions = torch.empty(0, dtype=torch.long)
        self.values: dict[str, Tensor] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        handles = [
            module.register_forward_pre_hook(partial(self._input, name))
            for name, module in self.inputs.items()
        ] + [
            module.register_forward_hook(partial(self._output, name))
            for name, module in self.outputs.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def begin(self, positions: Tensor) -> None:
        self.positions = positions
        self.values = {}

    def end(self) -> dict[str, Tensor]:
        missing = [name for name in (*self.inputs, *self.outputs) if name not in self.values]
        if missing:
            raise ConfigError(f"The model never used {', '.join(missing)}. Choose other modules.")
        return self.values

    def _input(self, name: str, _: nn.Module, args: tuple[Any, ...]) -> None:
        self._keep(name, args[0])

    def _output(self, name: str, _: nn.Module, __: Any, output: Any) -> None:
        self._keep(name, output[0] if isinstance(output, tuple) else output)

    def _keep(self, name: str, values: Tensor) -> None:
        flat = values.reshape(-1, values.shape[-1])
        self.values[name] = flat[self.positions.to(flat.device)].float()
        if len(self.values) == len(self.inputs) + len(self.outputs):
            raise _AllRead

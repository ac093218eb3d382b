"""Second moments of the inputs of linear layers, summed batch by batch.

    C = 1/T sum_t k_t k_t^T        k_t the layer's input at token t, not centered

The forward pass ends as soon as every wanted layer has seen the batch: what lies above the
highest of them, the output head among it, is not computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.host.trace.signals import MAX_TOKENS


@dataclass
class MomentSums:
    """Sums over the tokens seen so far. Grows in place; float32 throughout."""

    sums: dict[str, Tensor]
    """Per module path the sum of the outer products of its inputs. Shape (d_in, d_in)."""

    tokens: int = 0

    @classmethod
    def zeros(cls, modules: Mapping[str, nn.Module], sizes: Mapping[str, int]) -> MomentSums:
        """Sums of no tokens, each on the device of its module.

        Args:
            modules: The linear layers by path.
            sizes: Inputs of each, d_in.
        """
        return cls(
            {
                path: torch.zeros(sizes[path], sizes[path], device=_device(module))
                for path, module in modules.items()
            }
        )

    def mean(self, path: str) -> Tensor:
        """Mean outer product of a module's inputs. float32, shape (d_in, d_in)."""
        return self.sums[path] / max(1, self.tokens)


@torch.no_grad()
def add_moments(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    passages: Sequence[Sequence[int]],
    into: MomentSums,
) -> None:
    """Run passages through a model and add what the layers saw to the sums.

    Args:
        model: The language model, its weights as they should be measured.
        modules: The linear layers by path.
        passages: Token ids of each passage. Passages of similar length share a batch; which
            passages are given together therefore sets the rounding of the sums, and nothing else.
        into: The sums, changed in place.

    Raises:
        ConfigError: If a module does not see every token, or is not reached at all.
        NumericalError: If an input of a module is not finite.
    """
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    watch = _Watch(modules, into)
    with watch.attached():
        for rows in _batches(passages, MAX_TOKENS.get(device.type, MAX_TOKENS["cpu"])):
            input_ids, attention_mask = (tensor.to(device) for tensor in _pad(rows))
            watch.begin(attention_mask)
            with suppress(_AllSeen):
                model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
            watch.end()
            into.tokens += sum(map(len, rows))
    for path, total in into.sums.items():
        if not bool(torch.isfinite(total).all()):
            raise NumericalError(
                f"{path}: its inputs are not finite on this text. Are the weights whole? "
                "Otherwise try float32."
            )


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _batches(passages: Sequence[Sequence[int]], tokens: int) -> Iterator[list[Sequence[int]]]:
    """Passages of similar length, longest first, at most so many tokens with their padding."""
    batch: list[Sequence[int]] = []
    for passage in sorted((p for p in passages if p), key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > tokens:
            yield batch
            batch = []
        batch.append(passage)
    if batch:
        yield batch


def _pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids padded on the right, and their mask. Both of shape (rows, length)."""
    length = len(rows[0])
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    sizes = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(length) < sizes.unsqueeze(1)).long()


class _AllSeen(Exception):
    """Ends a forward pass whose remaining layers nobody looks at."""


class _Watch:
    """Adds up the inputs of the layers through hooks, and ends the pass after the last one."""

    def __init__(self, modules: Mapping[str, nn.Module], into: MomentSums) -> None:
        self.modules = modules
        self.into = into
        self.mask = torch.empty(0, dtype=torch.bool)
        self.seen: set[str] = set()

    @contextmanager
    def attached(self) -> Iterator[None]:
        handles = [
            module.register_forward_pre_hook(partial(self._look, path))
            for path, module in self.modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def begin(self, mask: Tensor) -> None:
        self.mask = mask.reshape(-1).bool()
        self.seen = set()

    def end(self) -> None:
        missing = [path for path in self.modules if path not in self.seen]
        if missing:
            raise ConfigError(f"The model never used {', '.join(missing)}. Choose other modules.")

    def _look(self, path: str, _: nn.Module, args: tuple[Any, ...]) -> None:
        flat = args[0].reshape(-1, args[0].shape[-1])
        if len(flat) != len(self.mask):
            raise ConfigError(
                f"{path} sees {len(flat)} of {len(self.mask)} tokens, as a layer inside a mixture "
                "of experts does. Choose layers that see every token."
            )
        rows = flat[self.mask.to(flat.device)].float()  # (tokens, d_in)
        self.into.sums[path].addmm_(rows.T, rows)
        self.seen.add(path)
        if len(self.seen) == len(self.modules):
            raise _AllSeen

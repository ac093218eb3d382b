"""Run a part of a model: up to one of its decoder blocks, or from one on.

Blocks below are swapped for stubs that pass on what they get, and the block above is handed
hidden states that were computed before. Everything else, such as masks, positions, rotary
embeddings and inputs per layer, still comes from the model's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Blocks:
    """The decoder blocks of a model, any part of which can run alone."""

    def __init__(self, model: nn.Module, blocks: nn.ModuleList) -> None:
        """Take a model apart.

        Args:
            model: A causal language model with `get_input_embeddings`.
            blocks: Its decoder blocks, in the order in which they run.
        """
        self.model = model
        self.list = blocks
        self._returns_tuple: bool | None = None

    def __len__(self) -> int:
        """Number of decoder blocks."""
        return len(self.list)

    def index_of(self, path: str) -> int | None:
        """Number of the block that a module is in, from 0; None for a module outside all."""
        module = self.model.get_submodule(path)
        for index, block in enumerate(self.list):
            if any(module is each for each in block.modules()):
                return index
        return None

    def states_at(
        self,
        index: int,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Run the model up to one block.

        Inside `resumed` only the blocks from there on run.

        Args:
            index: The block that does not run any more.
            input_ids: Shape (rows, length).
            attention_mask: Shape (rows, length), or as `shared_batch` has it. None where no row
                is padded, or where states behind the last token of a row do not matter.
            position_ids: Shape (rows, length). None where they follow from the mask.

        Returns:
            Hidden states at the input of the block. Shape (rows, length, hidden).
        """
        handle = self.list[index].register_forward_pre_hook(_stop, with_kwargs=True)
        noted = self.list[0].register_forward_hook(self._note)
        try:
            placed = {} if position_ids is None else {"position_ids": position_ids}
            self.model(
                input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **placed
            )
        except _Reached as reached:
            return reached.states
        finally:
            handle.remove()
            noted.remove()
        raise LookupError(f"Block {index} was not run.")

    @contextmanager
    def resumed(self, index: int, states: Tensor) -> Iterator[None]:
        """Let the model begin at one block, whatever the token ids.

        Args:
            index: The first block that runs.
            states: Hidden states at its input, for the batch that the model will be given.
                Shape (rows, length, hidden). May require a gradient.
        """
        if index == 0:
            handle = self.list[0].register_forward_pre_hook(_replace(states), with_kwargs=True)
            try:
                yield
            finally:
                handle.remove()
            return
        wrap = self._wrapper()
        below = [self.list[number] for number in range(index)]
        for number, block in enumerate(below):
            given = states if number == index - 1 else None
            self.list[number] = _Stub(block, given, wrap)
        try:
            yield
        finally:
            for number, block in enumerate(below):
                self.list[number] = block

    @contextmanager
    def last_mlp_at(self, positions: Tensor) -> Iterator[None]:
        """Let the MLP of the last block run at the given positions alone.

        No later block reads its output, and an MLP looks at one position at a time. A model
        whose last block has no module of the name ``mlp`` runs it everywhere.

        Args:
            positions: Indices into the flattened (rows x length) batch. Shape (n,). Elsewhere the
                last block's output is not to be used.
        """
        mlp = getattr(self.list[-1], "mlp", None)
        if not isinstance(mlp, nn.Module):
            yield
            return
        whole: list[torch.Size] = []

        def select(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
            whole.append(args[0].shape)
            flat = args[0].reshape(-1, args[0].shape[-1])
            return (flat[positions.to(flat.device)].unsqueeze(0), *args[1:])

        def spread(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
            shape = whole.pop()
            full = output.new_zeros(shape[:-1].numel(), output.shape[-1])
            full = full.index_copy(0, positions.to(output.device), output[0])
            return full.reshape(*shape[:-1], -1)

        handles = [mlp.register_forward_pre_hook(select), mlp.register_forward_hook(spread)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        self._returns_tuple = not isinstance(output, Tensor)

    @torch.no_grad()
    def _wrapper(self) -> Callable[[Tensor], Any]:
        """How a block hands on its states: as they are, or as the first of a pair."""
        if self._returns_tuple is None:
            device = self.model.get_input_embeddings().weight.device  # type: ignore[operator]
            self.states_at(1, torch.zeros(1, 1, dtype=torch.long, device=device))
        return _as_pair if self._returns_tuple else _as_it_is


class _Reached(Exception):
    """Ends a forward pass that has come to the block where it should."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


class _Stub(nn.Module):
    """Stands for a block, passing on what it gets, or what it was given."""

    def __init__(
        self, block: nn.Module, states: Tensor | None, wrap: Callable[[Tensor], Any]
    ) -> None:
        super().__init__()
        # In a tuple, so that the block does not become a submodule of its stub.
        self._stands_for = (block,)
        self._states = states
        self._wrap = wrap

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # A copy of what is given: the block above may write to it in place.
        return self._wrap(_hidden(args, kwargs) if self._states is None else self._states.clone())

    def __getattr__(self, name: str) -> Any:
        """Some models ask a block for its kind of attention."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_stands_for"][0], name)


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    states: Tensor = args[0] if args else kwargs["hidden_states"]
    return states


def _stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise _Reached(_hidden(args, kwargs))


def _replace(states: Tensor) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    def replace(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = states.clone()  # the block may write to it in place
        return ((given, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": given})

    return replace


def _as_it_is(states: Tensor) -> Tensor:
    return states


def _as_pair(states: Tensor) -> tuple[Tensor, None]:
    return states, None

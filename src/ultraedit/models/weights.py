"""The edited weights: apply a patch, take it back exactly, say what has changed.

Editors never write to the model. They return patches; only this module adds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.core.types import LowRank, Master, Patch, dense


def weight_view(module: nn.Module) -> Tensor:
    """The weight of a linear layer seen as (d_in, d_out), however it is stored.

    `nn.Linear` stores (d_out, d_in) and gives its transpose; transformers' `Conv1D`
    stores (d_in, d_out). Writing to the view writes to the layer.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.data.T if isinstance(module, nn.Linear) else weight.data


class EditedWeights:
    """The weights of the edited modules, as unedited weight plus accumulated change.

    The change is kept in float32, and the live weight is *defined* by it: their sum, rounded
    to the model's dtype. So whoever has the unedited model and the change, such as a run that is
    resumed or a delta that is applied, gets the same weights to the last bit.
    """

    def __init__(self, modules: Mapping[str, nn.Module], master: Master = "float32") -> None:
        """Remember the unedited weights.

        Args:
            modules: The edited linear layers by path.
            master: What each patch is added to, and so what it is rounded to.
        """
        self._modules = dict(modules)
        self._base = {path: weight_view(module).clone() for path, module in modules.items()}
        self._changes = {
            path: torch.zeros_like(weight, dtype=torch.float32)
            for path, weight in self._base.items()
        }
        self._master = master

    def _live(self, path: str) -> Tensor:
        """The weight that the model computes with, looked up anew: `in_float32` exchanges it."""
        return weight_view(self._modules[path])

    @property
    def changes(self) -> Mapping[str, Tensor]:
        """Accumulated change of each weight since the unedited model, float32, (d_in, d_out).

        The tensors are those that the next patch adds to: to be read, not kept.
        """
        return self._changes

    def weight(self, path: str) -> Tensor:
        """Current weight, float32. Shape (d_in, d_out)."""
        if self._master == "model":
            return self._live(path).float()
        return self._base[path].float() + self._changes[path]

    def with_change(self, path: str, change: Tensor) -> Tensor:
        """The unedited weight plus another change, as the live weight would have it. A copy."""
        base = self._base[path]
        return (base.float() + change.to(base.device)).to(base.dtype)

    def relative_change(self, path: str, change: Tensor | None = None) -> float:
        """Frobenius norm of a change, or of the accumulated one, over the unedited weight's."""
        base = torch.linalg.matrix_norm(self._base[path].float())
        change = self._changes[path] if change is None else change
        return float(torch.linalg.matrix_norm(change) / base.clamp(min=1e-30))

    @torch.no_grad()
    def apply(self, patch: Patch) -> None:
        """Add a patch to the weights: all of it, or nothing.

        Args:
            patch: Changes by module path.

        Raises:
            ConfigError: If the patch names a module that is not edited here, or has another
                shape than its weight.
            NumericalError: If a change is not finite.
        """
        for path, change in patch.changes.items():
            self._check(path, change)
        for path, change in patch.changes.items():
            if self._master == "model":
                rounded = _added(self._live(path).clone(), change)
                self._changes[path] = rounded.float() - self._base[path].float()
            else:
                _added(self._changes[path], change)
            self._refresh(path)

    def _refresh(self, path: str) -> None:
        """Round base plus change to the model's dtype, in the live weight."""
        live = self._live(path)
        if live.dtype == torch.float32:
            torch.add(self._base[path], self._changes[path], out=live)
        else:
            live.copy_(self._base[path].float().add_(self._changes[path]))

    def _check(self, path: str, change: Tensor | LowRank) -> None:
        if path not in self._modules:
            raise ConfigError(
                f"The patch changes {path!r}, which is not among the edited modules: "
                f"{', '.join(self._modules)}."
            )
        factors = tuple(change) if isinstance(change, LowRank) else (change,)
        shape = (factors[0].shape[0], factors[-1].shape[1])
        if shape != tuple(self._live(path).shape):
            expected = tuple(self._live(path).shape)
            raise ConfigError(f"{path}: the patch has shape {shape}, the weight {expected}.")
        if not all(bool(torch.isfinite(factor).all()) for factor in factors):
            raise NumericalError(
                f"{path}: the update is not finite; the weights were left as they are. "
                "Lower `eta`, raise `ridge`, or use float32."
            )

    def snapshot(self) -> dict[str, Tensor]:
        """Copy the accumulated changes, to be given to `restore`."""
        layout = torch.contiguous_format  # as safetensors wants it
        return {path: c.clone(memory_format=layout) for path, c in self._changes.items()}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go back, or on, to the changes of a snapshot, bit for bit.

        Raises:
            ConfigError: If the snapshot is of other modules.
        """
        if snapshot.keys() != self._changes.keys():
            raise ConfigError(
                f"The snapshot is of {', '.join(snapshot)}; edited here are "
                f"{', '.join(self._changes)}."
            )
        for path, saved in snapshot.items():
            self._changes[path].copy_(saved)
            self._refresh(path)

    @torch.no_grad()
    def reset(self) -> None:
        """Go back to the unedited weights, bit for bit."""
        for path, base in self._base.items():
            self._changes[path].zero_()
            self._live(path).copy_(base)  # base + 0 would turn -0 into 0

    @contextmanager
    def applied(self, patch: Patch) -> Iterator[None]:
        """Hold the model as if a patch were applied, and restore it exactly afterwards."""
        before = self.snapshot()
        try:
            self.apply(patch)
            yield
        finally:
            self.restore(before)

    @contextmanager
    @torch.no_grad()
    def replaced(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Hold the model with other weights, and restore it exactly afterwards.

        Args:
            weights: By module path, shape (d_in, d_out); they are rounded to the model's dtype.
        """
        before = {path: self._live(path).clone() for path in weights}
        try:
            for path, weight in weights.items():
                self._live(path).copy_(weight)
            yield
        finally:
            for path, weight in before.items():
                self._live(path).copy_(weight)

    @contextmanager
    def unedited(self) -> Iterator[None]:
        """Hold the model as it was before any patch, and restore it exactly afterwards."""
        before = self.snapshot()
        try:
            self.reset()
            yield
        finally:
            self.restore(before)


def _added(weight: Tensor, change: Tensor | LowRank) -> Tensor:
    """Add a change to a tensor in place, through the factors where they have its dtype."""
    if isinstance(change, LowRank) and weight.dtype == change.left.dtype:
        return weight.addmm_(change.left.to(weight.device), change.right.to(weight.device))
    return weight.add_(dense(change).to(weight.device, weight.dtype))

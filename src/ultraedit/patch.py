"""The edited weights: apply a patch, take it back exactly, say what has changed.

Editors never write to the model. They return patches; only this module adds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ultraedit.errors import ConfigError, NumericalError
from ultraedit.types import LowRank, Master, Patch


def weight_view(module: nn.Module) -> Tensor:
    """The weight of a linear layer seen as (d_in, d_out), however it is stored.

    `nn.Linear` stores (d_out, d_in) and gives its transpose; transformers' `Conv1D`
    stores (d_in, d_out). Writing to the view writes to the layer.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.data.T if isinstance(module, nn.Linear) else weight.data


class EditedWeights:
    """The weights of the edited modules, with what is needed to go back.

    Changes are accumulated in a float32 master and rounded to the model's dtype after each
    patch. A float32 model is its own master, and so is any model with ``master="model"``.
    """

    def __init__(self, modules: Mapping[str, nn.Module], master: Master = "float32") -> None:
        """Remember the unedited weights.

        Args:
            modules: The edited linear layers by path.
            master: What accumulates the changes.
        """
        self._live = {path: weight_view(module) for path, module in modules.items()}
        self._base = {path: weight.clone() for path, weight in self._live.items()}
        self._master = {
            path: weight.float() if master == "float32" else weight
            for path, weight in self._live.items()
        }

    def weight(self, path: str) -> Tensor:
        """Current weight, float32. Shape (d_in, d_out)."""
        return self._master[path].float()

    def change(self, path: str) -> Tensor:
        """Accumulated change of one weight since the unedited model, float32, (d_in, d_out)."""
        return self._master[path].float() - self._base[path].float()

    def relative_change(self, path: str) -> float:
        """Frobenius norm of the accumulated change over that of the unedited weight."""
        base = torch.linalg.matrix_norm(self._base[path].float())
        return float(torch.linalg.matrix_norm(self.change(path)) / base.clamp(min=1e-30))

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
            master = self._master[path]
            if isinstance(change, LowRank) and master.dtype == change.left.dtype:
                master.addmm_(change.left.to(master.device), change.right.to(master.device))
            else:
                dense = change.dense() if isinstance(change, LowRank) else change
                master += dense.to(master.device, master.dtype)
            if master is not self._live[path]:
                self._live[path].copy_(master)

    def _check(self, path: str, change: Tensor | LowRank) -> None:
        if path not in self._live:
            raise ConfigError(
                f"The patch changes {path!r}, which is not among the edited modules: "
                f"{', '.join(self._live)}."
            )
        factors = tuple(change) if isinstance(change, LowRank) else (change,)
        shape = (factors[0].shape[0], factors[-1].shape[1])
        if shape != tuple(self._live[path].shape):
            expected = tuple(self._live[path].shape)
            raise ConfigError(f"{path}: the patch has shape {shape}, the weight {expected}.")
        if not all(bool(torch.isfinite(factor).all()) for factor in factors):
            raise NumericalError(
                f"{path}: the update is not finite; the weights were left as they are. "
                "Lower `eta`, raise `ridge`, or use float32."
            )

    def snapshot(self) -> dict[str, Tensor]:
        """Copy the accumulated weights, to be given to `restore`."""
        layout = torch.contiguous_format  # as safetensors wants it
        return {path: m.clone(memory_format=layout) for path, m in self._master.items()}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go back to a snapshot, bit for bit."""
        for path, saved in snapshot.items():
            self._master[path].copy_(saved)
            self._live[path].copy_(self._master[path])

    def reset(self) -> None:
        """Go back to the unedited weights, bit for bit."""
        self.restore(self._base)

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
    def unedited(self) -> Iterator[None]:
        """Hold the model as it was before any patch, and restore it exactly afterwards."""
        before = self.snapshot()
        try:
            self.reset()
            yield
        finally:
            self.restore(before)

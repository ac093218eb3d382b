r"""MEMIT: mass-editing memory in a transformer.

Meng et al. (2022), https://arxiv.org/abs/2210.07229. States and layers as in
`locate_then_edit`; the change of one layer, with C the second moment of its inputs
over a text (equation 14):

    Delta = argmin ||K Delta - R||^2 + ridge tr(Delta^T C Delta)
          = (ridge C + K^T K)^-1 K^T R

Differs from the released code: see `locate_then_edit`. C is mixed with a little of the
identity, since a small text leaves it singular; ``protocol="official"`` takes it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import weighted_ridge_update
from ultraedit.core.types import Host, SecondMoment, State
from ultraedit.editors.families.locate_then_edit import Change, LocateThenEdit


@dataclass(frozen=True, kw_only=True)
class MEMIT(LocateThenEdit):
    """The MEMIT editor. It remembers nothing of earlier turns but the contexts.

    Raises:
        ConfigError: If an option is out of its range.
    """

    ridge: float = 15_000.0
    """Weight of what the layer did for the tokens of the text. Larger writes less."""

    def solve(self, host: Host, path: str, keys: Tensor, residuals: Tensor, state: State) -> Change:
        """Ridge regression in the metric of the second moment."""
        second = host.second_moment(path)
        if self.protocol == "official":
            return self._unsmoothed(path, second, keys, residuals)
        moment = smoothed(second).to(keys.device)
        return weighted_ridge_update(keys, residuals, moment, self.ridge, name=path)

    def _unsmoothed(
        self, path: str, second: SecondMoment, keys: Tensor, residuals: Tensor
    ) -> Tensor:
        """The solution with C as it is, of the system of d_in rows, as the released code has it.

        Raises:
            ConfigError: If the text is too short for one.
        """
        rows = keys.double()
        system = self.ridge * second.moment.to(rows) + rows.T @ rows  # (d_in, d_in)
        factor, info = torch.linalg.cholesky_ex(system)
        # A moment of few tokens may have a factor that is nothing but rounding.
        if int(info) != 0 or second.tokens + len(keys) < len(system):
            raise ConfigError(
                f"{path}: the second moment over {second.tokens:,} tokens of {second.source} is "
                f"singular in {len(system):,} dimensions, and protocol=official takes it as it is. "
                "Give a longer text with --corpus, or leave the protocol out."
            )
        return torch.cholesky_solve(rows.T @ residuals.double(), factor).to(keys.dtype)

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """Which text the second moments are from."""
        second_moment = host.second_moment(next(iter(host.modules)))
        return {"statistics": f"{second_moment.tokens:,} tokens of {second_moment.source}"}


def smoothed(second_moment: SecondMoment) -> Tensor:
    """A second moment mixed with a multiple of the identity. float64, shape (d_in, d_in).

    The share of the identity is d_in / (d_in + tokens): one half where there are as many tokens
    as inputs, 4e-5 for the hundred thousand articles of the released statistics. Its size is
    the median of the diagonal, since a few inputs of a layer may be a million times the others.
    """
    moment = second_moment.moment.double()
    d_in = len(moment)
    share = d_in / (d_in + second_moment.tokens)
    typical = moment.diagonal().median().clamp(min=1e-30)
    identity = torch.eye(d_in, dtype=torch.float64, device=moment.device)
    return (1 - share) * moment + share * typical * identity

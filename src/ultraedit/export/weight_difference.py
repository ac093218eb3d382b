"""What lies between two changes of a model, or between two models, module by module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ultraedit.core.errors import ConfigError
from ultraedit.core.spectrum import effective_rank, numerical_rank, spectrum

LEADING = 5
"""How many singular values are told."""


@dataclass(frozen=True)
class ModuleDiff:
    """The difference A - B of one module."""

    module: str
    """Path of the module, or of the weight where it is no matrix of a linear layer."""

    shape: tuple[int, ...]

    norm: float
    """``||A - B||``, Frobenius."""

    relative: float | None
    """``||A - B|| / ||B||``; None where B is zero."""

    rank: int
    """How many singular values stand out of the rounding of float32."""

    effective_rank: float
    """How many directions are really used; see `spectrum.effective_rank`."""

    singular_values: tuple[float, ...]
    """The largest of A - B, at most `LEADING`."""


def diff_changes(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[ModuleDiff]:
    """Compare two changes of the same base model.

    Args:
        a: Per module path its change. Shape (d_in, d_out).
        b: The other. A module that only one of them changes is unchanged in the other.

    Returns:
        Every module that one of them changes, those of `a` first.

    Raises:
        ConfigError: If a module has another shape in each.
    """
    paths = list(dict.fromkeys([*a, *b]))
    return [_compare(path, *_pair(path, a.get(path), b.get(path))) for path in paths]


def diff_models(a: nn.Module, b: nn.Module) -> list[ModuleDiff]:
    """Compare all weights of two models of one architecture.

    Returns:
        The weights that differ, in the order of the model.

    Raises:
        ConfigError: If one has a weight that the other has not, or has in another shape.
    """
    ours, theirs = dict(a.named_parameters()), dict(b.named_parameters())
    odd = sorted(ours.keys() ^ theirs.keys())
    if odd:
        raise ConfigError(
            f"Only one of the two models has {odd[0]}. Compare models of one architecture."
        )
    return list(_differing(ours, theirs))


def _differing(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Iterator[ModuleDiff]:
    for name, weight in ours.items():
        path = name.removesuffix(".weight")
        one, other = _pair(path, weight.detach(), theirs[name].detach())
        if not torch.equal(one, other):
            yield _compare(path, one, other)


def _pair(path: str, one: Tensor | None, other: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both as float32 on one device; the one that is missing is zero."""
    present = one if one is not None else other
    assert present is not None
    if one is not None and other is not None and one.shape != other.shape:
        raise ConfigError(
            f"{path} has the shape {tuple(one.shape)} in the one and {tuple(other.shape)} in the "
            "other. Compare what belongs to one model."
        )
    zero = torch.zeros(present.shape, dtype=torch.float32)
    return tuple(zero if each is None else each.float().cpu() for each in (one, other))  # type: ignore[return-value]


def _compare(path: str, one: Tensor, other: Tensor) -> ModuleDiff:
    difference = (one - other).flatten(1) if one.ndim > 1 else (one - other).reshape(1, -1)
    svd = spectrum(difference)
    norm, size = float(difference.double().norm()), float(other.double().norm())
    return ModuleDiff(
        module=path,
        shape=tuple(one.shape),
        norm=norm,
        relative=norm / size if size else None,
        rank=numerical_rank(svd, tuple(difference.shape)),
        effective_rank=effective_rank(svd),
        singular_values=tuple(svd.values[:LEADING].tolist()),
    )

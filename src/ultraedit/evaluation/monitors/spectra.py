"""The weight changes of the model as it is asked: how large, how steep, how many directions."""

from __future__ import annotations

from typing import Any

from ultraedit.core.spectrum import effective_rank, spectrum
from ultraedit.host.host import ModelHost


class Spectra:
    """Per edited module the norm of its change, its leading singular value and effective rank."""

    name = "spectrum"

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    def measure(self) -> dict[str, Any]:
        """By module: ``norm`` relative to the weight, ``leading`` and ``effective_rank``."""
        return {path: self._of(path, norm) for path, norm in self._host.asked_norms().items()}

    def _of(self, path: str, norm: float) -> dict[str, float]:
        found = spectrum(self._host.asked_change(path))
        return {
            "norm": norm,
            "leading": float(found.values[0]),
            "effective_rank": effective_rank(found),
        }

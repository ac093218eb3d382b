"""All that is watched of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ultraedit.core.spectrum import effective_rank, spectrum
from ultraedit.core.types import NullObserver, Observer, Scores
from ultraedit.evaluation.monitors.guard import Guard
from ultraedit.host.host import ModelHost

if TYPE_CHECKING:
    from ultraedit.evaluation.ability import Settings


class Monitor(Protocol):
    """Something that is measured at every checkpoint."""

    @property
    def name(self) -> str:
        """What its values stand under in a record."""
        ...

    def measure(self) -> dict[str, Any]:
        """Look at the model as it stands. Plain values, as JSON has them."""
        ...


class Spectra:
    """Per edited module the norm of its change, its leading singular value and effective rank."""

    name = "spectrum"

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    def measure(self) -> dict[str, Any]:
        """By module: ``norm`` relative to the weight, ``leading`` and ``effective_rank``."""
        return {path: self._of(path, norm) for path, norm in self._host.asked_norms().items()}

    def _of(self, path: str, norm: float) -> dict[str, float]:
        of_change = spectrum(self._host.asked_change(path))
        return {
            "norm": norm,
            "leading": float(of_change.values[0]),
            "effective_rank": effective_rank(of_change),
        }


class Ability:
    """General ability: tasks of lm-eval, and ordinary text."""

    name = "ability"

    def __init__(self, host: ModelHost, settings: Settings) -> None:
        self._host, self._settings = host, settings

    def measure(self) -> dict[str, Any]:
        """By task what `ability.TaskScore` holds."""
        from ultraedit.evaluation.ability import measure

        unedited = self._host.weights.unedited
        scores = measure(self._host.language_model, self._settings, unedited=unedited)
        return {name: asdict(score) for name, score in scores.items()}


@dataclass
class Watch:
    """The monitors of a run and the guard over them. Made while the model is unedited."""

    host: ModelHost
    monitors: Sequence[Monitor] = ()
    guard: Guard = field(default_factory=Guard)
    observer: Observer = field(default_factory=NullObserver)
    resumed: bool = False
    """Whether the unedited model is on record: what takes long does not look at it again."""
    reads: bool = False
    """Whether the perplexity of a text is among the scores."""
    unedited: dict[str, Any] = field(default_factory=dict)
    """What the monitors saw of the unedited model."""

    def __post_init__(self) -> None:
        """Check that the guard's thresholds are watched, and look at the unedited model.

        Raises:
            ConfigError: If one is not.
        """
        names = {monitor.name for monitor in self.monitors}
        self.guard.require(frozenset(names | {"perplexity"} if self.reads else names))
        skipped = {Ability.name} if self.resumed else set()
        self.unedited = self._look(skipped)

    def look(self) -> dict[str, Any]:
        """Look at the model as it stands."""
        return self._look(set())

    def _look(self, skipped: set[str]) -> dict[str, Any]:
        measured = {}
        for monitor in self.monitors:
            if monitor.name in skipped:
                continue
            self.observer.stage(f"Watching: {monitor.name}")
            measured[monitor.name] = monitor.measure()
        return measured

    def breach(
        self, now: dict[str, Any], norms: Mapping[str, float], scores: Scores, before: Scores
    ) -> str | None:
        """Which limit of the guard the model exceeds, in words; None if it exceeds none.

        Args:
            now: What the monitors see.
            norms: `ModelHost.asked_norms` of the model that they see.
            scores: Scores of the model as it stands.
            before: Those of the unedited model.
        """
        ratio = None
        if scores.perplexity is not None and before.perplexity is not None:
            ratio = scores.perplexity / before.perplexity
        return self.guard.breach(norms, now, ratio, scores.metrics)

"""A guard over what the monitors see: it ends a run that goes wrong, and says why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.evaluation.metrics.registry import GUARDED, METRICS


class Limit(NamedTuple):
    """One thing that a guard can look at."""

    monitor: str | None
    """The monitor that it needs; None for the norms and the metrics, which every run has."""
    text: str
    """What it is, for a sentence."""
    most: bool
    """Whether the threshold is an upper limit, or a lower one."""


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "norm": Limit(None, "the largest relative change of a weight", True),
        "perplexity": Limit("perplexity", "perplexity against the unedited model's", True),
        "kl": Limit("locality", "KL divergence on locality prompts", True),
        "agreement": Limit("locality", "top-1 agreement on locality prompts", False),
        "control": Limit("control", "efficacy on the control set", False),
    }
    | {name: Limit(None, METRICS[name].title, METRICS[name].lower_is_better) for name in GUARDED}
)
"""What thresholds can be set for."""

NO_SCORES: Mapping[str, float | None] = MappingProxyType({})


class Halted(Exception):
    """A guard has ended a run; the text says why."""


@dataclass(frozen=True)
class Guard:
    """Thresholds, and what happens where one is passed.

    Raises:
        ConfigError: If there is no such threshold, or it is no number, or there is something to
            be done but no threshold.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    action: Literal["stop", "back"] = "stop"
    """End the run after the turn, or take that turn back and end it there."""

    def __post_init__(self) -> None:
        """Check the thresholds."""
        if self.action == "back" and not self.thresholds:
            raise ConfigError(
                "--guard-action back needs a value to guard. Add one, such as --guard norm=0.5."
            )
        for name, value in self.thresholds.items():
            if name in METRICS and name not in LIMITS:
                raise ConfigError(
                    f"--guard {name} is not possible: {name} has a value in free generation alone, "
                    "and a guard watches values under teacher forcing."
                )
            if name not in LIMITS:
                raise ConfigError(f"A guard knows no {name!r}. {did_you_mean(name, LIMITS)}")
            if not math.isfinite(value) or value < 0:
                raise ConfigError(f"guard {name} must be a number from 0, got {value}.")

    def require(self, monitors: frozenset[str]) -> None:
        """Check that what the thresholds are about is watched.

        Raises:
            ConfigError: If it is not.
        """
        for name in self.thresholds:
            needed = LIMITS[name].monitor
            if needed is not None and needed not in monitors:
                how = {
                    "perplexity": "--perplexity FILE",
                    "locality": "--monitor locality",
                    "control": "--control N",
                }[needed]
                raise ConfigError(f"--guard {name} needs {how}.")

    def breach(
        self,
        norms: Mapping[str, float],
        now: Mapping[str, Any],
        perplexity: float | None = None,
        scores: Mapping[str, float | None] = NO_SCORES,
    ) -> str | None:
        """Which limit a model exceeds, in words; None if it exceeds none.

        Args:
            norms: Relative change by module.
            now: What the monitors see.
            perplexity: Against the unedited model's; None where no text is read.
            scores: The metrics by name.
        """
        values = _values(norms, now) | ({} if perplexity is None else {"perplexity": perplexity})
        values |= {name: scores.get(name) for name in GUARDED}
        for name, threshold in self.thresholds.items():
            limit, value = LIMITS[name], values[name]
            if value is None:
                return f"{limit.text} cannot be guarded: the facts have no question for it"
            # No comparison with NaN is true, so it exceeds every limit.
            fine = value <= threshold if limit.most else value >= threshold
            if not fine:
                side = "above" if limit.most else "below"
                return f"{limit.text} is {value:.4g}, {side} the limit {threshold:.4g}"
        return None


def _values(norms: Mapping[str, float], now: Mapping[str, Any]) -> dict[str, float | None]:
    """What the thresholds are compared with."""
    values: dict[str, float | None] = {"norm": max(norms.values(), default=0.0)}
    if "locality" in now:
        values |= {name: now["locality"][name] for name in ("kl", "agreement")}
    if "control" in now:
        values["control"] = now["control"]["efficacy"]
    return values

"""The scores of a run side by side, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ultraedit.evaluation.metrics import registry

METRICS = tuple(registry.METRICS)
"""Names of the metrics that every run has a row for, measured or not."""

_LABELS = {name: metric.title for name, metric in registry.METRICS.items()} | {
    "negated": "negated (lower is better)"
}
"""What readers see in the place of a name."""


class ScoreRow(NamedTuple):
    """One metric before and after the edits, as fractions; None where it was not measured."""

    name: str
    forced_before: float | None
    forced_after: float | None
    generated_before: float | None
    generated_after: float | None
    begins: float | None = None
    """Share of the generated answers after the edits that begin with the target."""
    stops: float | None = None
    """Share of them that are the target and nothing else."""

    @property
    def forced(self) -> bool:
        """Whether there is any teacher-forced score to show."""
        return self.forced_before is not None or self.forced_after is not None

    @property
    def generated(self) -> bool:
        """Whether there is any score of generated answers to show."""
        return self.generated_before is not None or self.generated_after is not None


def scores_table(summary: Mapping[str, Any]) -> list[ScoreRow]:
    """Lay the scores out, one row per metric and per probe.

    Args:
        summary: What ``summary.json`` holds; its ``before``, ``after`` and ``controls`` are read.

    Returns:
        The metrics, then, where they were asked, the agreement on control questions and the probes
        in the order in which they were asked.
    """
    before, after = summary["before"], summary["after"]
    sides = (before, after, before.get("generation") or {}, after.get("generation") or {})
    rows = [_row(name, [side.get(name) for side in sides], sides[-1]) for name in METRICS]
    rows.extend(_control_rows(summary.get("controls") or {}))
    probes = [side.get("probes") or {} for side in sides]
    names = dict.fromkeys(name for side in probes for name in side)
    rows.extend(_row(name, [side.get(name) for side in probes], sides[-1]) for name in names)
    return rows


CONTROLS = "agreement on {} control questions"
"""Name of the row of the package's control questions, which every run has by default."""


def controls_label(questions: int) -> str:
    """Name of the agreement on so many control questions."""
    return CONTROLS.format(f"{questions:,}")


def is_controls(name: str) -> bool:
    """Whether a row is that of the control questions."""
    start, _, end = CONTROLS.partition("{}")
    return name.startswith(start) and name.endswith(end)


def _control_rows(controls: Mapping[str, Any]) -> list[ScoreRow]:
    first, last = controls.get("before") or {}, controls.get("after") or {}
    if not last:
        return []
    sides = [(side.get(name)) for name in ("agreement", "generation") for side in (first, last)]
    return [ScoreRow(controls_label(last["questions"]), *sides)]


def label(name: str) -> str:
    """What a reader is shown as the name of a score."""
    return _LABELS.get(name, name)


def metric_of(row: str) -> registry.Metric | None:
    """The metric of a row; None if the row is of something else.

    Args:
        row: Its name, as a reader sees it.
    """
    return next((each for each in registry.METRICS.values() if each.title == row), None)


def _row(name: str, scores: Sequence[float | None], said: Mapping[str, Any]) -> ScoreRow:
    ended = {which: (said.get(which) or {}).get(name) for which in ("begins", "stops")}
    return ScoreRow(label(name), *scores, **ended)


def perplexity_line(summary: Mapping[str, Any]) -> str | None:
    """What the edits did to the perplexity on a text; None where it was not measured."""
    after = summary["after"].get("perplexity")
    if after is None:
        return None
    before = summary["before"].get("perplexity")
    since = "" if before is None else f"{before:,.2f} before the edits, "
    return f"Perplexity on the text: {since}{after:,.2f}{' after them' if since else ''}."

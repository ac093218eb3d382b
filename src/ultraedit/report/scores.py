"""The scores of a run side by side, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

METRICS = ("efficacy", "generalization", "specificity", "agreement")
"""The metrics that every run has a row for, measured or not."""


class ScoreRow(NamedTuple):
    """One metric before and after the edits, as fractions; None where it was not measured."""

    name: str
    forced_before: float | None
    forced_after: float | None
    generated_before: float | None
    generated_after: float | None

    @property
    def forced(self) -> bool:
        """Whether there is any teacher-forced score to show."""
        return self.forced_before is not None or self.forced_after is not None

    @property
    def generated(self) -> bool:
        """Whether there is any score of free answers to show."""
        return self.generated_before is not None or self.generated_after is not None


def scores_table(summary: Mapping[str, Any]) -> list[ScoreRow]:
    """Lay the scores out, one row per metric and per probe.

    Args:
        summary: What ``summary.json`` holds; its ``before`` and ``after`` are read.

    Returns:
        Efficacy, generalization, specificity and agreement, then the probes in the order of the
        data. Probes are never asked freely.
    """
    before, after = summary["before"], summary["after"]
    said_before, said_after = before.get("generation") or {}, after.get("generation") or {}
    rows = [
        ScoreRow(
            name, before.get(name), after.get(name), said_before.get(name), said_after.get(name)
        )
        for name in METRICS
    ]
    probes_before, probes_after = before.get("probes") or {}, after.get("probes") or {}
    names = dict.fromkeys([*probes_before, *probes_after])
    rows.extend(
        ScoreRow(name, probes_before.get(name), probes_after.get(name), None, None)
        for name in names
    )
    return rows


def perplexity_line(summary: Mapping[str, Any]) -> str | None:
    """What the edits did to the perplexity on a text; None where it was not measured."""
    after = summary["after"].get("perplexity")
    if after is None:
        return None
    before = summary["before"].get("perplexity")
    since = "" if before is None else f"{before:,.2f} before the edits, "
    return f"Perplexity on the text: {since}{after:,.2f}{' after them' if since else ''}."

"""Several runs side by side: their figures, the settings in which they differ, and what to mind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ultraedit.report.reading import FinishedRun
from ultraedit.report.scores import METRICS, controls_label

_ASIDE = frozenset({"options", "save_model", "snapshot_every", "model", "data"})
"""Settings that do not stand in the table: what they became does, or they change no result."""


class Figures(NamedTuple):
    """What is compared of one run. Scores are fractions; None where it was not measured."""

    edits: int
    turns: int
    free: Mapping[str, float | None]
    """Exact match of generated answers after the edits, by metric and probe."""
    stops: Mapping[str, float]
    """Share of the generated answers that are the target and nothing else, likewise."""
    forced: Mapping[str, float | None]
    """Teacher-forced token accuracy after the edits, likewise."""
    perplexity: float | None
    perplexity_before: float | None
    seconds_per_100: float
    """Wall time of 100 edits, evaluation excluded."""
    peak_memory_bytes: int
    ability: Mapping[str, float]
    """Share of right answers by task, at the last look."""


@dataclass(frozen=True)
class Compared:
    """One of the runs."""

    name: str
    run: FinishedRun
    figures: Figures


@dataclass(frozen=True)
class LeftOut:
    """A run that cannot be compared with the first one."""

    name: str
    why: str


@dataclass(frozen=True)
class Comparison:
    """The runs that can be compared, and what a reader has to know."""

    runs: Sequence[Compared]
    left_out: Sequence[LeftOut] = ()
    remarks: Sequence[str] = field(default_factory=tuple)
    """What makes some of the figures differ for other reasons than the settings below."""

    @property
    def warnings(self) -> list[str]:
        """What was left out and why, then the remarks, a sentence or two each."""
        return [f"{each.name} is left out: {each.why}" for each in self.left_out] + [*self.remarks]

    def settings(self) -> dict[str, list[Any]]:
        """The settings that differ, each with its value in every run; None where it has none."""
        every = [_settings(each.run) for each in self.runs]
        names = dict.fromkeys(name for each in every for name in each)
        rows = {name: [each.get(name) for each in every] for name in names}
        return {
            name: values
            for name, values in rows.items()
            if any(value != values[0] for value in values[1:])
        }


def figures(run: FinishedRun) -> Figures:
    """Take from a run what is compared."""
    summary, after = run.summary, run.summary["after"]
    free = after.get("generation") or {}
    controls = (summary.get("controls") or {}).get("after")
    looks = [each.values["ability"] for each in run.history.seen if "ability" in each.values]
    return Figures(
        edits=summary["edits"],
        turns=summary["turns"],
        free=_by_name(free) | _of_controls(controls, "generation"),
        stops=free.get("stops") or {},
        forced=_by_name(after) | _of_controls(controls, "agreement"),
        perplexity=after.get("perplexity"),
        perplexity_before=summary["before"].get("perplexity"),
        seconds_per_100=100 * summary["edit_seconds"] / max(1, summary["edits"]),
        peak_memory_bytes=summary["peak_memory_bytes"],
        ability={task: result["score"] for task, result in (looks or [{}])[-1].items()},
    )


def _of_controls(controls: Mapping[str, Any] | None, name: str) -> dict[str, float | None]:
    """What is left of the answers to control questions, where they were asked."""
    return {} if not controls else {controls_label(controls["questions"]): controls[name]}


def _by_name(scores: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: scores.get(name) for name in METRICS} | (scores.get("probes") or {})


def remarks(runs: Sequence[Compared]) -> Iterator[str]:
    """What sets runs of the same facts and the same model apart besides their settings."""
    first, *others = runs
    for other in others:
        ours, theirs = first.figures.edits, other.figures.edits
        if ours != theirs:
            yield (
                f"{other.name} made {theirs:,} edits and {first.name} {ours:,}: their scores are "
                "of different edits. The curves show both at the same number."
            )
        for name, what in (
            ("free_answers", "generated answers are over different edits"),
            ("score_sample", "scores are over different samples"),
            ("seed", "samples and random choices are different ones"),
        ):
            mine, its = (each.run.config["settings"].get(name) for each in (first, other))
            if mine != its:
                yield (
                    f"{other.name} has {name} {_said(its)} and {first.name} {_said(mine)}: {what}."
                )
        mine, its = (_machine(each.run) for each in (first, other))
        if mine != its:
            yield (
                f"{other.name} ran on {its} and {first.name} on {mine}: seconds and memory are "
                "those of different machines."
            )


def _settings(run: FinishedRun) -> dict[str, Any]:
    """All settings of a run as they were in effect."""
    resolved = run.summary["resolved"]
    given = {k: v for k, v in run.config["settings"].items() if k not in _ASIDE}
    effective: dict[str, Any] = {
        name: resolved[name] for name in ("modules", "preset", "dtype", "device")
    }
    return {"editor": run.summary["editor"]} | given | effective | dict(resolved["options"])


def _machine(run: FinishedRun) -> str:
    return ", ".join([*map(str, run.config["machine"].values()), run.summary["resolved"]["device"]])


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)

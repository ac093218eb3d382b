"""A run in the words of somebody who has to decide whether to use its model.

A pure function of the run's records: the scores of its summary and the generated answers after the
edits. What counts as enough stands in one table, `ENOUGH`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ultraedit.core.types import Answer
from ultraedit.evaluation.metrics import METRICS
from ultraedit.report.formats import format_percent

NAMED = 3
"""So many facts that are not answered are named."""

SHOWN = 60
"""Longest text that is shown of a prompt or an answer, in characters."""


class Enough(NamedTuple):
    """How much of something makes a model ready."""

    share: float
    """Least share, in 0..1; of the perplexity, the largest ratio of after to before."""

    needs: str
    """What is short where it is not reached, behind "because"."""


ENOUGH: Mapping[str, Enough] = {
    "facts": Enough(0.9, "of the facts are answered"),
    "in other words": Enough(0.5, "of the questions in other words are answered"),
    "in chat": Enough(0.75, "of the facts are answered in chat"),
    "in chat, in other words": Enough(0.5, "of the questions in other words are answered in chat"),
    "control questions": Enough(0.8, "of the answers to control questions are what they were"),
    "unrelated questions": Enough(
        0.7, "of the answers to the facts' own unrelated questions are what they were"
    ),
    "perplexity": Enough(1.1, "times its former perplexity"),
}
"""What a model must reach, of what was measured, to be called ready."""

_KINDS = {
    "facts": "efficacy",
    "in other words": "generalization",
    "in chat": "chat efficacy",
    "in chat, in other words": "chat generalization",
}
"""Kinds of generated answers by what they are called here."""


class Count(NamedTuple):
    """How many of some questions went well."""

    right: int
    asked: int

    @property
    def share(self) -> float:
        """In 0..1."""
        return self.right / self.asked

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.right:,} of {self.asked:,}"


@dataclass(frozen=True)
class Verdict:
    """The result of a run."""

    sentences: tuple[str, ...]
    """What is answered and what has changed, then whether the model is ready, a thought each."""

    ready: bool | None
    """Whether it is; None where free generation was not evaluated."""

    because: tuple[str, ...]
    """What is missing where it is not."""

    counts: Mapping[str, Count]
    """What went well, by the names in `ENOUGH`."""

    forced: str
    """The teacher-forced scores behind it, in one sentence; empty where there are none."""

    @property
    def text(self) -> str:
        """All of it, but the teacher-forced scores."""
        return " ".join(self.sentences)

    def to_json(self) -> dict[str, Any]:
        """As ``summary.json`` has it."""
        return {
            "text": self.text,
            "ready": self.ready,
            "because": list(self.because),
            "counts": {name: count._asdict() for name, count in self.counts.items()},
            "forced": self.forced,
        }


def judge(summary: Mapping[str, Any], answers: Iterable[Answer]) -> Verdict:
    """Judge a run by its generated answers.

    Args:
        summary: What ``summary.json`` holds; its ``before``, ``after`` and ``controls`` are read.
        answers: The generated answers after the edits, as ``answers.jsonl`` holds them.

    Returns:
        The verdict. Of what was not asked it says nothing, and asks nothing for it.
    """
    by_kind: dict[str, list[Answer]] = {}
    for answer in answers:
        by_kind.setdefault(answer.kind, []).append(answer)
    counts = {name: _count(by_kind[kind]) for name, kind in _KINDS.items() if by_kind.get(kind)}
    controls = _controls(summary)
    if controls.get("generation") is not None:
        asked = controls["questions"]
        counts["control questions"] = Count(round(controls["generation"] * asked), asked)
    unrelated = _distinct(by_kind.get("specificity", []))
    if unrelated:
        kept = sum(_is_kept(answer) for answer in unrelated)
        counts["unrelated questions"] = Count(kept, len(unrelated))
    ratio = _perplexity_ratio(summary)
    forced = _forced(summary)
    if "facts" not in counts:
        said = ("Free generation was not evaluated, so it is unknown what the model answers.",)
        return Verdict(said, None, (), counts, forced)
    sentences = [
        *_answered(counts, by_kind["efficacy"]),
        *_kept(counts, controls.get("worst")),
    ]
    because = tuple(_short(counts, ratio))
    sentences.append(
        "Ready to ship." if not because else f"Not ready to ship, because {_listed(because)}."
    )
    return Verdict(tuple(sentences), not because, because, counts, forced)


def _controls(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """What became of the control questions; nothing where they were not asked."""
    return (summary.get("controls") or {}).get("after") or {}


def _count(answers: Sequence[Answer]) -> Count:
    return Count(sum(answer.correct for answer in answers), len(answers))


def _distinct(answers: Sequence[Answer]) -> list[Answer]:
    """Each question once: sets of facts share unrelated questions."""
    return list({answer.prompt: answer for answer in answers}.values())


def _is_kept(answer: Answer) -> bool:
    from ultraedit.evaluation.metrics import exact_match

    return answer.after == answer.before or exact_match(answer.after, [answer.before])


def _answered(counts: Mapping[str, Count], facts: Sequence[Answer]) -> list[str]:
    """What is answered: bare, in other words, in chat."""
    count = counts["facts"]
    facts_are = "fact is" if count.asked == 1 else "facts are"
    wrong = [answer.prompt for answer in facts if not answer.correct]
    named = "; ".join(f'"{_shown(prompt)}"' for prompt in wrong[:NAMED])
    more = "; ..." if len(wrong) > NAMED else ""
    are = "is" if len(wrong) == 1 else "are"
    missing = f" ({len(wrong):,} {are} not: {named}{more})" if wrong else ""
    said = [f"{count} {facts_are} answered{missing}."]
    if "in other words" in counts:
        worded = counts["in other words"]
        said.append(f"In other words: {worded} question{'s' * (worded.asked != 1)}.")
    if "in chat" in counts:
        too = counts.get("in chat, in other words")
        words = "" if too is None else f", and in other words {too}"
        said.append(f"In chat: {counts['in chat']}{words}.")
    return said


def _kept(counts: Mapping[str, Count], worst: Any) -> list[str]:
    """What else has changed."""
    parts = []
    if count := counts.get("control questions"):
        shown = ""
        if worst is not None:
            prompt, before, after = worst
            shown = (
                f' (the worst: "{_shown(prompt)}" was "{_shown(before)}" and is now '
                f'"{_shown(after)}")'
            )
        parts.append(f"{_changed(count)} control questions{shown}")
    if count := counts.get("unrelated questions"):
        parts.append(f"{_changed(count)} unrelated questions of the facts' own")
    return [f"Other answers changed: {', and '.join(parts)}."] if parts else []


def _changed(count: Count) -> Count:
    return Count(count.asked - count.right, count.asked)


def _short(counts: Mapping[str, Count], ratio: float | None) -> list[str]:
    """What is missing, by the table."""
    missing = [
        f"{format_percent(count.share)} {ENOUGH[name].needs} ({enough.share:.0%} wanted)"
        for name, enough in ENOUGH.items()
        if (count := counts.get(name)) is not None and count.share < enough.share
    ]
    most = ENOUGH["perplexity"]
    if ratio is not None and ratio > most.share:
        missing.append(f"the text has {ratio:.2f} {most.needs} (at most {most.share:g} wanted)")
    return missing


def _perplexity_ratio(summary: Mapping[str, Any]) -> float | None:
    before, after = (summary[side].get("perplexity") for side in ("before", "after"))
    return after / before if before and after is not None else None


def _forced(summary: Mapping[str, Any]) -> str:
    after = summary["after"]
    scores = {
        metric.title: after.get(name)
        for name, metric in METRICS.items()
        if metric.of_fact or metric.against_unedited
    }
    controls = _controls(summary)
    if controls:
        name = f"agreement on {controls['questions']:,} control questions"
        scores[name] = controls.get("agreement")
    said = [
        f"{name} {format_percent(score)}" for name, score in scores.items() if score is not None
    ]
    return f"Teacher-forced: {', '.join(said)}." if said else ""


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{'; '.join(parts[:-1])}; and {parts[-1]}"


def _shown(text: str) -> str:
    """A text in one line, cut where it is long."""
    line = " ".join(text.split()).replace('"', "'")
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3].rstrip()}..."

"""Ask the model every question of a set of edits, and score the answers.

Two ways of asking stand side by side: teacher forcing, as the paper scores, and free greedy
generation. Locality is scored twice too: against the gold answers, as the paper does, and
against what the unedited model says (`Reference`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ultraedit.host import ModelHost
from ultraedit.metrics import exact_match, mean, token_accuracy, token_agreement
from ultraedit.perplexity import Text, perplexity
from ultraedit.types import (
    Answer,
    Edit,
    GenerationScores,
    Nobody,
    Observer,
    Question,
    Scores,
)

SPARE_TOKENS = 6
"""How many tokens longer than its target, or its longest alias, a free answer may get. What has not
ended by then is not an exact match of it."""

MIN_TOKENS = 12
"""How long any free answer may get, so that a reader sees what the model means."""


class Asked(NamedTuple):
    """One question of one edit."""

    kind: str
    """``efficacy``, ``generalization``, ``specificity`` or ``probe:NAME``."""

    edit: Edit
    prompt: str
    target: str | None
    aliases: tuple[str, ...] = ()

    @property
    def question(self) -> Question:
        """The question itself, whichever edit it came with."""
        return Question(self.prompt, self.target)


class Forced(NamedTuple):
    """One question answered under teacher forcing."""

    asked: Asked
    predicted: tuple[int, ...]
    """The model's top choice at each answer token."""

    answer: tuple[int, ...]
    """The answer tokens that it was forced along."""


@dataclass(frozen=True)
class Reference:
    """What the unedited model says to the questions of a run."""

    tokens: dict[Question, tuple[int, ...]] = field(default_factory=dict)
    """Its top choices at each answer token, under teacher forcing."""

    answers: dict[str, str] = field(default_factory=dict)
    """Its free answers by prompt."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of a set of edits, and what stands behind them."""

    scores: Scores
    reference: Reference
    answers: tuple[Answer, ...]
    overruled: int
    by_edit: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Per name the teacher-forced score of each edit, in their order; None where it has no such
    question."""


def questions(
    edits: Sequence[Edit], newest: Mapping[str, Edit] | None = None
) -> tuple[list[Asked], int]:
    """Every question of a set of edits; a prompt edited twice expects its newest target.

    Args:
        edits: The edits in the order in which they were made.
        newest: The last edit made of each of their prompts, where others than these were made. None
            finds them among the edits themselves.

    Returns:
        The questions, and how many edits a later one has overruled.
    """
    newest = {edit.prompt: edit for edit in edits} if newest is None else newest
    asked: list[Asked] = []
    for edit in edits:
        now = newest[edit.prompt]
        asked.append(Asked("efficacy", edit, edit.prompt, now.target, now.aliases))
        asked.extend(
            Asked("generalization", edit, prompt, now.target, now.aliases)
            for prompt in edit.rephrases
        )
        asked.extend(Asked("specificity", edit, *question) for question in edit.locality)
        asked.extend(
            Asked(f"probe:{name}", edit, *question)
            for name, probe in edit.probes.items()
            for question in probe
        )
    return asked, sum(newest[edit.prompt].target != edit.target for edit in edits)


def evaluate(
    host: ModelHost,
    edits: Sequence[Edit],
    *,
    reference: Reference | None = None,
    newest: Mapping[str, Edit] | None = None,
    free_answers: int | None = None,
    keep: bool = True,
    text: Text = (),
    observer: Observer | None = None,
) -> Evaluation:
    """Score the model as it stands on a set of edits.

    Args:
        host: The model.
        edits: The edits whose questions are asked.
        reference: The unedited model's answers. None if this is the unedited model.
        newest: The last edit made of each prompt, as `questions` takes it.
        free_answers: How many edits are also asked freely, evenly spaced; None for all of them.
            A locality question without a gold answer counts for agreement only where it is among
            them, since it is the unedited model's free answer that it is scored along.
        keep: Whether the same will be asked again: then a trunk keeps what lies below.
        text: Passages whose perplexity is measured too; none for no perplexity.
        observer: Told the number of questions, and of each as it is answered.

    Returns:
        The scores, the reference to pass to later calls, and the free answers.
    """
    asked, overruled = questions(edits, newest)
    gold = [(question, question.target) for question in asked if question.target is not None]
    items = host.encode([(question.prompt, target) for question, target in gold])
    sample = [asked[i] for i in _sampled(asked, edits, free_answers)]
    observer = observer or Nobody()
    total = len(asked) + len({question.prompt for question in sample})
    observer.stage(f"Asking the {'edited' if reference else 'unedited'} model", total)
    limits = _limits(host, sample)
    answers = host.answer(list(limits), list(limits.values()), observer)
    said = dict(zip(limits, answers, strict=True))
    baseline = reference or Reference(answers=said)
    # A locality question without a gold answer is forced along the unedited model's own.
    own = [(q, baseline.answers.get(q.prompt, "")) for q in asked if q.target is None]
    own = [(question, answer) for question, answer in own if answer]
    items += host.encode([(question.prompt, answer) for question, answer in own])
    forced = [
        Forced(question, predicted, item.answer_ids)
        for (question, _), predicted, item in zip(
            [*gold, *own], host.predict(items, observer, keep=keep), items, strict=True
        )
    ]
    if reference is None:
        baseline.tokens.update((item.asked.question, item.predicted) for item in forced)
    cases = tuple(_answer(question, said, baseline) for question in sample)
    scores = _scores(forced, baseline, _generation_scores(cases) if sample else None)
    scores = replace(scores, perplexity=perplexity(host, text))
    return Evaluation(scores, baseline, cases, overruled, _by_edit(forced, edits))


def _sampled(asked: Sequence[Asked], edits: Sequence[Edit], count: int | None) -> list[int]:
    """Indices of the questions that are asked freely."""
    if count is None or count >= len(edits):
        return list(range(len(asked)))
    chosen = {id(edits[i * len(edits) // count]) for i in range(count)}
    return [index for index, question in enumerate(asked) if id(question.edit) in chosen]


def _limits(host: ModelHost, sample: Sequence[Asked]) -> dict[str, int]:
    """By prompt, how many tokens its free answer may get."""
    limits = {question.prompt: MIN_TOKENS for question in sample}
    right = [
        (question.prompt, answer)
        for question in sample
        for answer in (question.target, *question.aliases)
        if answer is not None and answer.strip()
    ]
    for (prompt, _), item in zip(right, host.encode(right), strict=True):
        limits[prompt] = max(limits[prompt], len(item.answer_ids) + SPARE_TOKENS)
    return limits


def _answer(question: Asked, said: dict[str, str], reference: Reference) -> Answer:
    after = said[question.prompt]
    wanted = [text for text in (question.target, *question.aliases) if text]
    before = reference.answers.get(question.prompt, "")
    return Answer(
        question.kind.removeprefix("probe:"),
        question.edit.id,
        question.prompt,
        question.target,
        before,
        after,
        exact_match(after, wanted) if wanted else _agrees(after, before),
    )


def _agrees(after: str, before: str) -> bool:
    """Whether two free answers are the same, or would be scored as the same."""
    return after == before or exact_match(after, [before])


def _generation_scores(answers: Iterable[Answer]) -> GenerationScores:
    answers = list(answers)
    gold = {
        kind: mean(a.correct for a in answers if a.kind == kind and a.target is not None)
        for kind in ("efficacy", "generalization", "specificity")
    }
    agreement = mean(_agrees(a.after, a.before) for a in answers if a.kind == "specificity")
    return GenerationScores(**gold, agreement=agreement)


def _by_edit(
    forced: Sequence[Forced], edits: Sequence[Edit]
) -> dict[str, tuple[float | None, ...]]:
    """Average each kind of question over each edit."""
    found: dict[tuple[str, int], list[float]] = {}
    for item in forced:
        if item.asked.target is not None:
            accuracy = token_accuracy(item.predicted, item.answer)
            found.setdefault((item.asked.kind, id(item.asked.edit)), []).append(accuracy)
    return {
        kind: tuple(mean(found.get((kind, id(edit)), [])) for edit in edits)
        for kind in ("efficacy", "generalization", "specificity")
        if any(asked == kind for asked, _ in found)
    }


def _scores(
    forced: Sequence[Forced], reference: Reference, generation: GenerationScores | None
) -> Scores:
    """Average per kind of question."""
    by_kind: dict[str, list[float]] = {}
    ours, theirs = [], []
    for item in forced:
        if item.asked.target is not None:
            accuracy = token_accuracy(item.predicted, item.answer)
            by_kind.setdefault(item.asked.kind, []).append(accuracy)
        if item.asked.kind == "specificity" and item.asked.question in reference.tokens:
            ours.append(item.predicted)
            theirs.append(reference.tokens[item.asked.question])
    probes = {kind: values for kind, values in by_kind.items() if kind.startswith("probe:")}
    return Scores(
        efficacy=mean(by_kind.get("efficacy", [])),
        generalization=mean(by_kind.get("generalization", [])),
        specificity=mean(by_kind.get("specificity", [])),
        agreement=token_agreement(ours, theirs),
        probes={k.removeprefix("probe:"): sum(v) / len(v) for k, v in probes.items()},
        generation=generation,
    )

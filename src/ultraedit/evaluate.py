"""Ask the model every question of a set of edits, and score the answers.

Two ways of asking stand side by side: teacher forcing, as the paper scores, and free greedy
generation. Locality is scored twice too: against the gold answers, as the paper does, and
against what the unedited model says (`Reference`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from operator import eq
from typing import NamedTuple

from ultraedit.encoding import Encoded
from ultraedit.host import ModelHost
from ultraedit.metrics import (
    begins,
    exact_match,
    line_count,
    mean,
    stops,
    token_accuracy,
    token_agreement,
)
from ultraedit.metrics.intervals import Counted, Interval, intervals
from ultraedit.perplexity import Text, perplexity
from ultraedit.probes import Asked, Chat, Probing
from ultraedit.types import (
    Answer,
    Changed,
    ControlScores,
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

CONTROL_TOKENS = 8
"""How long a free answer to a control question may get: enough to tell two answers apart."""

MIN_TOKENS = 12
"""How long any free answer may get, so that a reader sees what the model means."""


class Forced(NamedTuple):
    """One question answered under teacher forcing."""

    asked: Asked
    predicted: tuple[int, ...]
    """The model's top choice at each answer token."""

    answer: tuple[int, ...]
    """The answer tokens that it was forced along."""

    @property
    def score(self) -> float:
        """Share of the tokens, or whether all of them, were its top choice."""
        accuracy = token_accuracy(self.predicted, self.answer)
        return float(accuracy == 1) if self.asked.statement else accuracy


class Said(NamedTuple):
    """One question answered freely."""

    asked: Asked
    answer: Answer
    begins: bool
    stops: bool

    @property
    def score(self) -> bool:
        """Whether it is an exact match; of a statement, whether it is ended so."""
        return self.begins if self.asked.statement else self.answer.correct


@dataclass(frozen=True)
class Reference:
    """What the unedited model says to the questions of a run."""

    tokens: dict[Question, tuple[int, ...]] = field(default_factory=dict)
    """Its top choices at each answer token, under teacher forcing."""

    answers: dict[str, str] = field(default_factory=dict)
    """Its free answers by prompt."""

    controls: dict[str, str] = field(default_factory=dict)
    """Its short free answers to the control questions, by prompt."""

    control_tokens: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Its top choices at each token of these, under teacher forcing."""


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
    controls: ControlScores | None = None
    """What became of the answers to control questions; None where they were not asked."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """By name of a score its 95 % bootstrap interval over facts; behind ``generation.`` those of
    free generation."""


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
    probing: Probing | None = None,
    in_chat: Chat | None = None,
    controls: Sequence[str] = (),
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
        probing: Probes that are asked beside the questions of the edits.
        in_chat: The model's chat template, in which the edits that are asked freely, and their
            rephrases, are asked freely too. None for bare prompts alone.
        controls: Questions that have nothing to do with any edit; see `ControlScores`. They are
            asked freely unless `free_answers` is 0.
        observer: Told the number of questions, and of each as it is answered.

    Returns:
        The scores, the reference to pass to later calls, and the free answers.
    """
    asked, overruled = questions(edits, newest)
    probed = [] if probing is None else list(probing.questions(asked))
    samples = [_sampled(group, edits, free_answers) for group in (asked, probed)]
    if in_chat is not None:
        samples.append(_chatted(in_chat, samples))
    sample = [question for group in samples for question in group]
    observer = observer or Nobody()
    watched = _Controls(host, controls, reference, free=free_answers != 0)
    total = len(asked) + len(probed) + len({question.prompt for question in sample})
    total += watched.steps
    observer.stage(f"Asking the {'edited' if reference else 'unedited'} model", total)
    # In batches of their own, the probes change no digit of the other scores.
    said: dict[str, str] = {}
    for group in samples:
        said = _answers(host, group, observer) | said
    baseline = reference or Reference(answers=said)
    forced = [
        each
        for group in ([asked, probed] if probed else [asked])
        for each in _forced(host, group, baseline, observer, keep=keep)
    ]
    if reference is None:
        baseline.tokens.update(
            (item.asked.question, item.predicted)
            for item in forced
            if item.asked.kind == "specificity"
        )
    cases = [_case(question, said, baseline) for question in sample]
    generated = _generation_scores(cases, baseline) if sample else None
    scores = _scores(forced, baseline, generated)
    scores = replace(scores, perplexity=perplexity(host, text))
    control = watched.ask(baseline, observer, keep=keep)
    answers = tuple(case.answer for case in cases)
    spread = intervals(_counted(forced, cases, baseline))
    by_edit = _by_edit(forced, edits)
    return Evaluation(scores, baseline, answers, overruled, by_edit, control, spread)


class _Controls:
    """The control questions of one evaluation."""

    def __init__(
        self,
        host: ModelHost,
        prompts: Sequence[str],
        reference: Reference | None,
        *,
        free: bool,
    ) -> None:
        """Choose those that can be asked: all that fit, or that the unedited model was asked."""
        self._host = host
        self._is_unedited = reference is None
        self._free = free
        if reference is None:
            self._prompts = [prompt for prompt in prompts if self._fits(prompt)]
        else:
            self._prompts = [prompt for prompt in prompts if prompt in reference.controls]

    def _fits(self, prompt: str) -> bool:
        length = self._host.language_model.context_length or sys.maxsize
        ids = self._host.language_model.tokenizer(prompt)["input_ids"]
        return 0 < len(ids) <= length - CONTROL_TOKENS

    @property
    def steps(self) -> int:
        """How many answers an observer is told of, of those that are sure to be given."""
        asked = len(self._prompts)
        return asked * (self._is_unedited or self._free)

    def ask(self, reference: Reference, observer: Observer, *, keep: bool) -> ControlScores | None:
        """Ask them, along the reference and freely. The unedited model makes the reference."""
        if not self._prompts:
            return None
        said: dict[str, str] = {}
        if self._is_unedited or self._free:
            limits = [CONTROL_TOKENS] * len(self._prompts)
            said = dict(
                zip(
                    self._prompts,
                    self._host.answer(self._prompts, limits, observer),
                    strict=True,
                )
            )
        if self._is_unedited:
            reference.controls.update(said)
        answered = [(each, reference.controls[each]) for each in self._prompts]
        answered = [(prompt, answer) for prompt, answer in answered if answer]
        chosen = self._host.predict(self._host.encode(answered), keep=keep)
        tokens = dict(zip((prompt for prompt, _ in answered), chosen, strict=True))
        if self._is_unedited:
            reference.control_tokens.update(tokens)
        changed = [
            Changed(prompt, reference.controls[prompt], after)
            for prompt, after in said.items()
            if not _agrees(after, reference.controls[prompt])
        ]
        return ControlScores(
            questions=len(self._prompts),
            agreement=token_agreement(
                tokens.values(), (reference.control_tokens[prompt] for prompt in tokens)
            ),
            generation=1 - len(changed) / len(self._prompts) if said else None,
            worst=min(changed, key=_likeness, default=None),
        )


def _likeness(answer: Changed) -> tuple[bool, float]:
    """How much of an answer is left, in 0..1; one that was empty has nothing to lose."""
    left = SequenceMatcher(None, answer.before, answer.after, autojunk=False).ratio()
    return not answer.before, left


def _chatted(in_chat: Chat, samples: Sequence[Sequence[Asked]]) -> list[Asked]:
    """The edits that are asked freely, and their rephrases, in the chat template."""
    asked, probed = samples
    known = {question.kind for question in probed}
    own = [question for question in asked if question.kind in ("efficacy", "generalization")]
    return [each for each in in_chat.questions(own) if each.kind not in known]


def _answers(host: ModelHost, sample: Sequence[Asked], observer: Observer) -> dict[str, str]:
    """Free answers by prompt."""
    limits = _limits(host, sample)
    tokens = [limit.tokens for limit in limits.values()]
    lines = [limit.lines for limit in limits.values()]
    written = host.answer(list(limits), tokens, observer, lines)
    return dict(zip(limits, written, strict=True))


def _forced(
    host: ModelHost,
    asked: Sequence[Asked],
    baseline: Reference,
    observer: Observer,
    *,
    keep: bool,
) -> list[Forced]:
    """Force the model along the gold answers, or, where there is none, the unedited model's own."""
    gold = [(question, question.target) for question in asked if question.target is not None]
    own = [(q, baseline.answers.get(q.prompt, "")) for q in asked if q.target is None]
    answered = [*gold, *((question, answer) for question, answer in own if answer)]
    items = _encoded(host, answered)
    found = host.predict(items, observer, keep=keep)
    return [
        Forced(question, predicted, item.answer_ids)
        for (question, _), predicted, item in zip(answered, found, items, strict=True)
    ]


def _encoded(host: ModelHost, answered: Sequence[tuple[Asked, str]]) -> list[Encoded]:
    """Tokenize questions with answers, in their order."""
    found: dict[int, Encoded] = {}
    for gap in dict.fromkeys(question.gap for question, _ in answered):
        places = [i for i, (question, _) in enumerate(answered) if question.gap == gap]
        pairs = [(answered[i][0].prompt, answered[i][1]) for i in places]
        found |= zip(places, host.encode(pairs, gap=gap), strict=True)
    return [found[i] for i in range(len(answered))]


def _sampled(asked: Sequence[Asked], edits: Sequence[Edit], count: int | None) -> list[Asked]:
    """The questions that are asked freely."""
    if count is None or count >= len(edits):
        return list(asked)
    chosen = {id(edits[i * len(edits) // count]) for i in range(count)}
    return [question for question in asked if id(question.edit) in chosen]


class _Limit(NamedTuple):
    """How long a free answer may get."""

    tokens: int = MIN_TOKENS
    lines: int = 1


def _limits(host: ModelHost, sample: Sequence[Asked]) -> dict[str, _Limit]:
    """By prompt, how long its free answer may get: as many lines as its longest answer has."""
    limits = {question.prompt: _Limit() for question in sample}
    right = [
        (question.prompt, f"{question.shown} {answer}" if question.echoes else answer)
        for question in sample
        for answer in (question.target, *question.aliases)
        if answer is not None and answer.strip()
    ]
    for (prompt, answer), item in zip(right, host.encode(right), strict=True):
        tokens, lines = limits[prompt]
        limits[prompt] = _Limit(
            max(tokens, len(item.answer_ids) + SPARE_TOKENS), max(lines, line_count(answer))
        )
    return limits


def _case(question: Asked, said: dict[str, str], reference: Reference) -> Said:
    after = said[question.prompt]
    wanted = [text for text in (question.target, *question.aliases) if text]
    before = reference.answers.get(question.prompt, "")
    answered, target = question.answered(after), question.target
    begun = begins(answered, wanted)
    if question.unwanted:
        correct, target = not begun, f"anything but {target}"
    elif question.statement:
        correct = begun
    else:
        correct = exact_match(answered, wanted) if wanted else _agrees(after, before)
    answer = Answer(
        _name(question.kind),
        question.edit.id,
        question.shown or question.prompt,
        target,
        before,
        after,
        correct,
    )
    return Said(question, answer, begun, stops(answered, wanted))


def _agrees(after: str, before: str) -> bool:
    """Whether two free answers are the same, or would be scored as the same."""
    return after == before or exact_match(after, [before])


def _generation_scores(cases: Sequence[Said], reference: Reference) -> GenerationScores:
    by_kind: dict[str, list[Said]] = {}
    for case in cases:
        if case.asked.target is not None:
            by_kind.setdefault(case.asked.kind, []).append(case)
    shares = {kind: _share(case.score for case in found) for kind, found in by_kind.items()}
    ended = {kind: each for kind, each in by_kind.items() if not each[0].asked.statement}
    # What the unedited model was not asked, as at a checkpoint on the way, agrees with nothing.
    locality = [
        case.answer
        for case in cases
        if case.asked.kind == "specificity" and case.asked.prompt in reference.answers
    ]
    return GenerationScores(
        efficacy=shares.get("efficacy"),
        generalization=shares.get("generalization"),
        specificity=shares.get("specificity"),
        agreement=mean(_agrees(answer.after, answer.before) for answer in locality),
        probes=_probes(shares),
        begins={_name(kind): _share(c.begins for c in found) for kind, found in ended.items()},
        stops={_name(kind): _share(c.stops for c in found) for kind, found in ended.items()},
    )


def _share(values: Iterable[float]) -> float:
    """Mean of at least one value."""
    values = list(values)
    return sum(values) / len(values)


def _name(kind: str) -> str:
    return kind.removeprefix("probe:")


def _probes(by_kind: Mapping[str, float]) -> dict[str, float]:
    return {_name(kind): each for kind, each in by_kind.items() if kind.startswith("probe:")}


def _by_edit(
    forced: Sequence[Forced], edits: Sequence[Edit]
) -> dict[str, tuple[float | None, ...]]:
    """Average each kind of question over each edit."""
    found: dict[tuple[str, int], list[float]] = {}
    for item in forced:
        if item.asked.target is not None:
            found.setdefault((item.asked.kind, id(item.asked.edit)), []).append(item.score)
    return {
        kind: tuple(mean(found.get((kind, id(edit)), [])) for edit in edits)
        for kind in ("efficacy", "generalization", "specificity")
        if any(asked == kind for asked, _ in found)
    }


def _counted(
    forced: Sequence[Forced], cases: Sequence[Said], reference: Reference
) -> dict[str, list[Counted]]:
    """By name of a score what each edit adds to it: its sum, and how many values are in it."""
    found: dict[str, dict[int, Counted]] = {}

    def add(name: str, edit: Edit, total: float, count: int = 1) -> None:
        before = found.setdefault(name, {}).get(id(edit), (0.0, 0.0))
        found[name][id(edit)] = before[0] + total, before[1] + count

    for item in forced:
        if item.asked.target is not None:
            add(_name(item.asked.kind), item.asked.edit, item.score)
        known = reference.tokens.get(item.asked.question)
        if item.asked.kind == "specificity" and known is not None:
            same = sum(map(eq, item.predicted, known))
            add("agreement", item.asked.edit, same, len(known))
    for case in cases:
        if case.asked.target is not None:
            add(f"generation.{_name(case.asked.kind)}", case.asked.edit, case.score)
    return {name: list(by_edit.values()) for name, by_edit in found.items()}


def _scores(
    forced: Sequence[Forced], reference: Reference, generation: GenerationScores | None
) -> Scores:
    """Average per kind of question."""
    by_kind: dict[str, list[float]] = {}
    ours, theirs = [], []
    for item in forced:
        if item.asked.target is not None:
            by_kind.setdefault(item.asked.kind, []).append(item.score)
        if item.asked.kind == "specificity" and item.asked.question in reference.tokens:
            ours.append(item.predicted)
            theirs.append(reference.tokens[item.asked.question])
    return Scores(
        efficacy=mean(by_kind.get("efficacy", [])),
        generalization=mean(by_kind.get("generalization", [])),
        specificity=mean(by_kind.get("specificity", [])),
        agreement=token_agreement(ours, theirs),
        probes=_probes({kind: _share(values) for kind, values in by_kind.items()}),
        generation=generation,
    )

"""Ask the model every question of a set of edits, and score the answers.

Two ways of asking stand side by side: teacher forcing, as the paper scores, and free greedy
generation. Locality is scored twice too: against the gold answers, as the paper does, and
against what the unedited model says (`Reference`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from operator import eq
from typing import NamedTuple, TypeVar

from ultraedit.core.encoding import Encoded
from ultraedit.core.types import (
    Answer,
    Changed,
    ControlScores,
    Edit,
    GenerationScores,
    NullObserver,
    Observer,
    Scores,
)
from ultraedit.evaluation.metrics import (
    METRICS,
    Forced,
    Free,
    begins,
    exact_match,
    line_count,
    stops,
    token_agreement,
)
from ultraedit.evaluation.metrics.answers import agrees
from ultraedit.evaluation.metrics.intervals import Counted, intervals
from ultraedit.evaluation.metrics.registry import COMPARED_QUESTIONS
from ultraedit.evaluation.outcome import Evaluation, Reference
from ultraedit.evaluation.perplexity import Text, perplexity
from ultraedit.evaluation.probes import AskedQuestion, Chat, Probing
from ultraedit.evaluation.question import QUESTIONS
from ultraedit.host.host import ModelHost

SPARE_TOKENS = 6
"""How many tokens longer than its target, or its longest alias, a generated answer may get. What
has not ended by then is not an exact match of it."""

CONTROL_TOKENS = 8
"""How long a generated answer to a control question may get: enough to tell two answers apart."""

MIN_TOKENS = 12
"""How long any generated answer may get, so that a reader sees what the model means."""


def questions(
    edits: Sequence[Edit], newest: Mapping[str, Edit] | None = None
) -> tuple[list[AskedQuestion], int]:
    """Every question of a set of edits; a prompt edited twice expects its newest target.

    Args:
        edits: The edits in the order in which they were made.
        newest: The last edit made of each of their prompts, where others than these were made. None
            finds them among the edits themselves.

    Returns:
        The questions, and how many edits a later one has overruled.
    """
    newest = {edit.prompt: edit for edit in edits} if newest is None else newest
    asked: list[AskedQuestion] = []
    for edit in edits:
        now = newest[edit.prompt]
        asked.extend(
            AskedQuestion(kind.name, edit, *question, now.aliases if kind.of_fact else ())
            for kind in QUESTIONS.values()
            for question in kind.ask(edit, now)
        )
        asked.extend(
            AskedQuestion(f"probe:{name}", edit, *question)
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
        free_answers: How many edits are also asked in free generation, evenly spaced; None for all.
            A locality question without a gold answer counts for agreement only where it is among
            them, since it is the unedited model's generated answer that it is scored along.
        keep: Whether the same will be asked again: then a trunk keeps what lies below.
        text: Passages whose perplexity is measured too; none for no perplexity.
        probing: Probes that are asked beside the questions of the edits.
        in_chat: The model's chat template, in which the edits that are asked in free generation,
            and their rephrases, are asked too. None for bare prompts alone.
        controls: Questions that have nothing to do with any edit; see `ControlScores`. They are
            asked in free generation unless `free_answers` is 0, every other one `in_chat`.
        observer: Told the number of questions, and of each as it is answered.

    Returns:
        The scores, the reference to pass to later calls, and the generated answers.
    """
    asked, overruled = questions(edits, newest)
    probed = [] if probing is None else list(probing.questions(asked))
    samples = [_sampled(group, edits, free_answers) for group in (asked, probed)]
    if in_chat is not None:
        samples.append(_chatted(in_chat, samples))
    sample = [question for group in samples for question in group]
    observer = observer or NullObserver()
    watched = _Controls(host, controls, in_chat, reference, free=free_answers != 0)
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
            if item.asked.kind in COMPARED_QUESTIONS
        )
    cases = [_case(question, said, baseline) for question in sample]
    forced = [each._replace(unedited=baseline.tokens.get(each.asked.question)) for each in forced]
    scores = _scores(forced, _generation_scores(cases) if sample else None)
    scores = replace(scores, perplexity=perplexity(host, text))
    control = watched.ask(baseline, observer, keep=keep)
    answers = tuple(case.answer for case in cases)
    spread = intervals(_counted(forced, cases))
    by_edit = _by_edit(forced, edits)
    return Evaluation(scores, baseline, answers, overruled, by_edit, control, spread)


class _Controls:
    """The control questions of one evaluation, every other one in the chat template if any."""

    def __init__(
        self,
        host: ModelHost,
        controls: Sequence[str],
        in_chat: Chat | None,
        reference: Reference | None,
        *,
        free: bool,
    ) -> None:
        """Choose those that can be asked: all that fit, or that the unedited model was asked."""
        self._host = host
        self._is_unedited = reference is None
        self._free = free
        self._controls: dict[str, str] = {}  # By prompt as it is asked.
        self._gaps: dict[str, str] = {}  # Between it and its answer.
        for place, control in enumerate(controls):
            chatted = in_chat is not None and place % 2 == 1
            prompt = in_chat.rendered(control) if in_chat is not None and chatted else control
            if self._fits(prompt) if reference is None else prompt in reference.controls:
                self._controls[prompt] = control
                self._gaps[prompt] = "" if chatted else " "

    def _fits(self, prompt: str) -> bool:
        length = self._host.language_model.context_length or sys.maxsize
        ids = self._host.language_model.tokenizer(prompt)["input_ids"]
        return 0 < len(ids) <= length - CONTROL_TOKENS

    @property
    def steps(self) -> int:
        """How many answers an observer is told of, of those that are sure to be given."""
        asked = len(self._controls)
        return asked * (self._is_unedited or self._free)

    def ask(self, reference: Reference, observer: Observer, *, keep: bool) -> ControlScores | None:
        """Ask them, forced and in free generation. The unedited model makes the reference."""
        if not self._controls:
            return None
        prompts = list(self._controls)
        said: dict[str, str] = {}
        if self._is_unedited or self._free:
            answers = self._host.answer(prompts, [CONTROL_TOKENS] * len(prompts), observer)
            said = dict(zip(prompts, answers, strict=True))
        if self._is_unedited:
            reference.controls.update(said)
        tokens: dict[str, tuple[int, ...]] = {}
        for gap in dict.fromkeys(self._gaps.values()):
            answered = [
                (each, reference.controls[each])
                for each in prompts
                if self._gaps[each] == gap and reference.controls[each]
            ]
            if answered:
                chosen = self._host.predict(self._host.encode(answered, gap=gap), keep=keep)
                tokens |= zip((prompt for prompt, _ in answered), chosen, strict=True)
        if self._is_unedited:
            reference.control_tokens.update(tokens)
        changed = [
            Changed(self._controls[prompt], reference.controls[prompt], after)
            for prompt, after in said.items()
            if not agrees(after, reference.controls[prompt])
        ]
        return ControlScores(
            questions=len(prompts),
            agreement=token_agreement(
                tokens.values(), (reference.control_tokens[prompt] for prompt in tokens)
            ),
            generation=1 - len(changed) / len(prompts) if said else None,
            worst=min(changed, key=_likeness, default=None),
        )


def _likeness(answer: Changed) -> tuple[bool, float]:
    """How much of an answer is left, in 0..1; one that was empty has nothing to lose."""
    left = SequenceMatcher(None, answer.before, answer.after, autojunk=False).ratio()
    return not answer.before, left


def _chatted(in_chat: Chat, samples: Sequence[Sequence[AskedQuestion]]) -> list[AskedQuestion]:
    """The edits asked in free generation, and their rephrases, in the chat template."""
    asked, probed = samples
    known = {question.kind for question in probed}
    of_fact = {kind.name for kind in QUESTIONS.values() if kind.of_fact}
    own = [question for question in asked if question.kind in of_fact]
    return [each for each in in_chat.questions(own) if each.kind not in known]


def _answers(
    host: ModelHost, sample: Sequence[AskedQuestion], observer: Observer
) -> dict[str, str]:
    """Generated answers by prompt."""
    limits = _limits(host, sample)
    tokens = [limit.tokens for limit in limits.values()]
    lines = [limit.lines for limit in limits.values()]
    written = host.answer(list(limits), tokens, observer, lines)
    return dict(zip(limits, written, strict=True))


def _forced(
    host: ModelHost,
    asked: Sequence[AskedQuestion],
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
    predictions = host.predict(items, observer, keep=keep)
    return [
        Forced(question, predicted, item.answer_ids)
        for (question, _), predicted, item in zip(answered, predictions, items, strict=True)
    ]


def _encoded(host: ModelHost, answered: Sequence[tuple[AskedQuestion, str]]) -> list[Encoded]:
    """Tokenize questions with answers, in their order."""
    encoded: dict[int, Encoded] = {}
    for gap in dict.fromkeys(question.gap for question, _ in answered):
        places = [i for i, (question, _) in enumerate(answered) if question.gap == gap]
        pairs = [(answered[i][0].prompt, answered[i][1]) for i in places]
        encoded |= zip(places, host.encode(pairs, gap=gap), strict=True)
    return [encoded[i] for i in range(len(answered))]


def _sampled(
    asked: Sequence[AskedQuestion], edits: Sequence[Edit], count: int | None
) -> list[AskedQuestion]:
    """The questions that are asked in free generation."""
    if count is None or count >= len(edits):
        return list(asked)
    chosen = {id(edits[i * len(edits) // count]) for i in range(count)}
    return [question for question in asked if id(question.edit) in chosen]


class _Limit(NamedTuple):
    """How long a generated answer may get."""

    tokens: int = MIN_TOKENS
    lines: int = 1


def _limits(host: ModelHost, sample: Sequence[AskedQuestion]) -> dict[str, _Limit]:
    """By prompt, how long its generated answer may get: as many lines as its longest answer has."""
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


def _case(question: AskedQuestion, said: dict[str, str], reference: Reference) -> Free:
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
        correct = exact_match(answered, wanted) if wanted else agrees(after, before)
    answer = Answer(
        _name(question.kind),
        question.edit.id,
        question.shown or question.prompt,
        target,
        before,
        after,
        correct,
    )
    compared = question.prompt in reference.answers
    return Free(question, answer, begun, stops(answered, wanted), compared)


def _generation_scores(cases: Sequence[Free]) -> GenerationScores:
    by_kind = _by_kind(cases)
    gold = _by_kind([case for case in cases if case.has_gold])
    ended = {kind: each for kind, each in gold.items() if not each[0].asked.statement}
    return GenerationScores(
        {
            name: metric.free(by_kind.get(metric.question, []))
            for name, metric in METRICS.items()
            if metric.free is not None
        },
        probes=_probes(gold),
        begins={_name(kind): _share(c.begins for c in each) for kind, each in ended.items()},
        stops={_name(kind): _share(c.stops for c in each) for kind, each in ended.items()},
    )


A = TypeVar("A", Forced, Free)


def _by_kind(answers: Iterable[A]) -> dict[str, list[A]]:
    """Answers by the kind of their question."""
    by_kind: dict[str, list[A]] = {}
    for each in answers:
        by_kind.setdefault(each.asked.kind, []).append(each)
    return by_kind


def _share(values: Iterable[float]) -> float:
    """Mean of at least one value."""
    values = list(values)
    return sum(values) / len(values)


def _name(kind: str) -> str:
    return kind.removeprefix("probe:")


def _probes(by_kind: Mapping[str, Sequence[Forced | Free]]) -> dict[str, float]:
    return {
        _name(kind): _share(each.score for each in answers)
        for kind, answers in by_kind.items()
        if kind.startswith("probe:")
    }


def _by_edit(
    forced: Sequence[Forced], edits: Sequence[Edit]
) -> dict[str, tuple[float | None, ...]]:
    """Each metric of each edit, but those that compare with the unedited model."""
    answers: dict[tuple[str, int], list[Forced]] = {}
    for item in forced:
        answers.setdefault((item.asked.kind, id(item.asked.edit)), []).append(item)
    by_edit = {
        name: tuple(metric.forced(answers.get((metric.question, id(each)), [])) for each in edits)
        for name, metric in METRICS.items()
        if metric.forced is not None and not metric.against_unedited
    }
    return {
        name: scores
        for name, scores in by_edit.items()
        if any(score is not None for score in scores)
    }


def _counted(forced: Sequence[Forced], cases: Sequence[Free]) -> dict[str, list[Counted]]:
    """By name of a score what each edit adds to it: its sum, and how many values are in it."""
    sums: dict[str, dict[int, Counted]] = {}

    def add(name: str, edit: Edit, total: float, count: int = 1) -> None:
        before = sums.setdefault(name, {}).get(id(edit), (0.0, 0.0))
        sums[name][id(edit)] = before[0] + total, before[1] + count

    for item in forced:
        if item.has_gold:
            add(_name(item.asked.kind), item.asked.edit, item.score)
        if item.asked.kind == "specificity" and item.unedited is not None:
            same = sum(map(eq, item.predicted, item.unedited))
            add("agreement", item.asked.edit, same, len(item.unedited))
    for case in cases:
        if case.has_gold:
            add(f"generation.{_name(case.asked.kind)}", case.asked.edit, case.score)
    return {name: list(by_edit.values()) for name, by_edit in sums.items()}


def _scores(forced: Sequence[Forced], generation: GenerationScores | None) -> Scores:
    """Every metric, and every probe."""
    by_kind = _by_kind(forced)
    return Scores(
        {
            name: None if metric.forced is None else metric.forced(by_kind.get(metric.question, []))
            for name, metric in METRICS.items()
        },
        probes=_probes(_by_kind([item for item in forced if item.has_gold])),
        generation=generation,
    )

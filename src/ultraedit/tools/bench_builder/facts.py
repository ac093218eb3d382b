"""Facts that can be asked for: a subject, a relation, and one answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ultraedit.data.relations.questions import Relation

MAX_NAME = 100
"""Longest subject or answer, in characters: longer ones are descriptions, not names."""

_BARE_ID = re.compile(r"[QP]\d+")


@dataclass(frozen=True)
class TripleFact:
    """A question's worth of triples."""

    place: str
    """Its place in the random order, 16 hexadecimal digits. Every choice about it comes from it."""

    subject: str

    relation: Relation

    answer: str

    source: int = 0
    """Number of the file, from 0."""

    line: int = 0

    other_answers: tuple[str, ...] = ()
    """Objects that the input has for the same question, and that are not asked for."""

    subject_aliases: tuple[str, ...] = ()

    answer_aliases: tuple[str, ...] = ()

    ids: tuple[str, ...] = ()

    questions: tuple[str, ...] = ()
    """Wordings of the row itself, beside those of its relation."""

    @property
    def key(self) -> str:
        """What is asked: equal for the facts that answer the same question."""
        return f"{self.subject.casefold()}\t{self.relation.key}"

    @property
    def entities(self) -> frozenset[str]:
        """All that the fact is about, for telling whether two facts are unrelated."""
        names = (self.subject, self.answer, *self.other_answers)
        return frozenset((*(name.casefold() for name in names), *self.ids))

    @property
    def wordings(self) -> tuple[str, ...]:
        """Ways of asking, with ``[X]`` for the subject."""
        return tuple(dict.fromkeys((*self.questions, *self.relation.questions)))


class Reject(NamedTuple):
    """Something that does not become a row, and why."""

    reasons: tuple[str, ...]
    """Names out of `REASONS`."""

    values: dict[str, Any]
    """What there was of it."""


REASONS: dict[str, str] = {
    "unreadable": "the line could not be taken apart",
    "no-wording": "no question is known for the relation, or none without the answer in it",
    "no-name": "the subject or the answer has no name",
    "long-name": f"the subject or the answer has more than {MAX_NAME} characters",
    "answer-in-subject": "the subject contains the answer, so every question would",
    "duplicate": "the same question and answer came before",
    "conflicting-answer": "the same question came before, with another answer",
    "held-out": "the question is kept for unrelated questions",
    "no-unrelated": "no unrelated fact was left that shares neither subject nor object",
    "unusable-reply": "the language model gave no questions in the form that was asked for",
    "subject-missing": "the editing question does not contain the subject",
    "answer-in-prompt": "the editing question contains the answer",
    "answer-in-rephrase": "the equivalent question contains the answer",
    "answer-in-unrelated": "the unrelated question contains its own answer",
    "alias-in-question": "a question contains another name of its answer",
    "not-a-question": "a question is not one line that begins a sentence and ends in ?",
    "length": "a question has too few or too many words",
    "same-question": "two of the three questions are the same but for case and marks",
    "language": "a question is not in the language of the set",
    "unrelated-is-edited": "the unrelated question is edited by another row",
}
"""Every reason for leaving something out, as it stands in ``rejected.jsonl``."""


def name_faults(fact: TripleFact) -> tuple[str, ...]:
    """Say why no question can be written about a fact, before anybody is paid for trying."""
    names = (fact.subject, fact.answer)
    if not all(names) or any(_BARE_ID.fullmatch(name) for name in names):
        return ("no-name",)
    faults = []
    if any(len(name) > MAX_NAME for name in names):
        faults.append("long-name")
    if fact.answer.casefold() in fact.subject.casefold():
        faults.append("answer-in-subject")
    return tuple(faults)


def merged(facts: Sequence[TripleFact]) -> tuple[TripleFact, list[Reject]]:
    """Make one fact of those that answer the same question: the first, as the input has it.

    Returns:
        The fact, which knows the other answers, and the rejects for the rest.
    """
    first, *rest = facts
    accepted = {name.casefold(): name for name in (first.answer, *first.other_answers)}
    rejects = []
    for fact in rest:
        is_known = fact.answer.casefold() in accepted
        rejects.append(reject(fact, "duplicate" if is_known else "conflicting-answer"))
        for name in (fact.answer, *fact.other_answers):
            accepted.setdefault(name.casefold(), name)
    if len(accepted) == 1 + len(first.other_answers):
        return first, rejects
    values = {**first.__dict__, "other_answers": tuple(accepted.values())[1:]}
    return TripleFact(**values), rejects


def reject(fact: TripleFact, *reasons: str, **more: str) -> Reject:
    """A reject that says what the fact was and where it stood."""
    return Reject(reasons, {**dict(_stated(fact)), **more})


def _stated(fact: TripleFact) -> Iterator[tuple[str, Any]]:
    yield "subject", fact.subject
    yield "relation", fact.relation.label
    yield "object", fact.answer
    yield "source", fact.source
    yield "line", fact.line

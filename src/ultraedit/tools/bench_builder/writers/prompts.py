"""What language models are asked, and how their replies are read.

Written after the description in section 4.1 of the UltraEdit paper, whose own text is not public:
questions from the subject and the relation, without examples, under constraints on length and
phrasing, never with the answer in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ultraedit.tools.bench_builder.checks import Questions
from ultraedit.tools.bench_builder.facts import TripleFact
from ultraedit.tools.bench_builder.pairing import Pair

SYSTEM = (
    "You turn facts from a knowledge base into questions for a test of factual knowledge. "
    "You reply with one JSON object and nothing else."
)

_TASK = """\
Fact 1
  subject: {subject}
  relation: {relation}
  answer: {answer}{also}
Fact 2
  subject: {other_subject}
  relation: {other_relation}
  answer: {other_answer}

Write three questions in English:
- "question" asks for the answer of fact 1 and names its subject exactly as it is spelled above.
- "rephrase" asks for the same with another sentence structure and other words.
- "unrelated" asks for the answer of fact 2.

Each is one sentence of {shortest} to {longest} words that starts with a capital letter and ends \
with a question mark. Each can be understood on its own and has that one answer. Neither the \
answer nor a part of it may stand in any of them. Start "question" and "rephrase" with different \
words.

Reply in this form: {{"question": "...", "rephrase": "...", "unrelated": "..."}}"""

_KEYS = ("question", "rephrase", "unrelated")

_LENGTHS = ((4, 12), (6, 16), (8, 20), (10, 25))
"""Words of a question. Drawn per fact, so that a set holds short and long ones."""

MAX_ALIASES = 3

REPLY_TOKENS = 90
"""Tokens of a usual reply, for an estimate."""


def task(pair: Pair) -> str:
    """Ask a chat model for the three questions of a pair."""
    fact, other = pair
    shortest, longest = _LENGTHS[int(fact.place[-1], 16) % len(_LENGTHS)]
    spoken = len(fact.subject.split())
    aliases = ", ".join(fact.subject_aliases[:MAX_ALIASES])
    return _TASK.format(
        subject=fact.subject,
        relation=fact.relation.label,
        answer=fact.answer,
        also=f"\n  the subject is also known as: {aliases}" if aliases else "",
        other_subject=other.subject,
        other_relation=other.relation.label,
        other_answer=other.answer,
        shortest=shortest,
        longest=longest + spoken,
    )


def parse(reply: str) -> Questions | None:
    """Find the questions in what a chat model wrote; None if they are not all there."""
    decoder = json.JSONDecoder()
    start = reply.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and all(isinstance(value.get(key), str) for key in _KEYS):
            return Questions(*(value[key].strip() for key in _KEYS))
        start = reply.find("{", start + 1)
    return None


_EXAMPLES = (
    ("Halley's Comet", "discoverer or inventor", "Who was the first to discover Halley's Comet?"),
    ("Lake Chad", "country", "In which country can one find Lake Chad?"),
    ("Emma", "author", "Who is the author of Emma?"),
)

_REWORDED = (
    ("Who is the author of Emma?", "By whom was the novel Emma written?"),
    ("In which country can one find Lake Chad?", "What country does Lake Chad belong to?"),
    ("Who was the first to discover Halley's Comet?", "Who first found Halley's Comet?"),
)


def completions(pair: Pair) -> Iterator[str]:
    """The beginnings of texts that a model without chat goes on with: question and unrelated."""
    for fact in pair:
        yield _ask(fact)


def rewording(question: str) -> str:
    """The beginning of a text that a model goes on with to ask the same in other words."""
    shown = "\n\n".join(f"Question: {old}\nIn other words: {new}" for old, new in _REWORDED)
    return f"{shown}\n\nQuestion: {question}\nIn other words:"


def _ask(fact: TripleFact) -> str:
    shown = [*_EXAMPLES, (fact.subject, fact.relation.label, "")]
    return "\n\n".join(
        f"Subject: {subject}\nAsked for: {relation}\nQuestion: {question}".rstrip()
        for subject, relation, question in shown
    )

"""``template``: other wordings by English patterns; needs nothing, and knows where it has none.

A prompt is known by the wordings of its relation (``probes/relations.toml`` and
``ultraeditbench/relations.toml``), or by a general pattern such as "The N of X is". It is then said
again as other questions, as a sentence that the answer ends, and as one would ask in a chat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from ultraedit.core.types import Edit, Question
from ultraedit.data.enrichment.base import Wording
from ultraedit.data.enrichment.controls import controls_of
from ultraedit.data.relations.facts import OBJECT, Templates, relations
from ultraedit.data.relations.questions import SLOT, Relation, load_relations

_LEAST_LETTERS = 6
"""Letters of a wording beside its slot, below which it fits too much to tell a relation."""

_MOST_WORDS = 10
"""Words of a subject that is found by its place in the prompt."""

_ASKING = re.compile(
    r"(?i)(who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|in|on|by|to|of"
    r"|at|for|from|with|the (?:name|capital|author))\b"
)
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|[A-Z][a-z]{1,3})\.$")
"""The end of a name such as "Andrew W.K." or "TAPE Inc."."""

_YEAR = re.compile(r"\d{3,4}")

_PERSONS = frozenset(
    (
        "actor",
        "architect",
        "author",
        "builder",
        "captain",
        "ceo",
        "chairman",
        "chairperson",
        "chancellor",
        "child",
        "coach",
        "composer",
        "creator",
        "curator",
        "daughter",
        "designer",
        "director",
        "discoverer",
        "editor",
        "emperor",
        "engineer",
        "father",
        "founder",
        "goalkeeper",
        "governor",
        "head",
        "husband",
        "inventor",
        "king",
        "lead",
        "leader",
        "manager",
        "mayor",
        "minister",
        "mother",
        "musician",
        "narrator",
        "owner",
        "painter",
        "partner",
        "performer",
        "photographer",
        "player",
        "president",
        "producer",
        "publisher",
        "queen",
        "rector",
        "screenwriter",
        "sculptor",
        "singer",
        "sister",
        "son",
        "spouse",
        "successor",
        "teacher",
        "translator",
        "wife",
        "winner",
        "writer",
    )
)
"""Nouns at the end of a phrase that is asked for by "who"."""

_DONE = {
    "built": "built",
    "composed": "composed",
    "created": "created",
    "designed": "designed",
    "developed": "developed",
    "directed": "directed",
    "discovered": "discovered",
    "drew": "drawn",
    "edited": "edited",
    "established": "established",
    "founded": "founded",
    "illustrated": "illustrated",
    "invented": "invented",
    "led": "led",
    "made": "made",
    "painted": "painted",
    "performed": "performed",
    "produced": "produced",
    "recorded": "recorded",
    "sang": "sung",
    "translated": "translated",
    "won": "won",
    "wrote": "written",
}
"""Verbs by what somebody did, with what was done."""

_PASSIVE = "|".join(sorted({*_DONE.values(), "opened", "published", "released", "completed"}))


class _Known(NamedTuple):
    """A prompt whose relation is known."""

    subject: str
    templates: Templates | None
    questions: tuple[str, ...]
    """Ways of asking the same, with `SLOT`."""

    statement: str | None
    """A sentence that the answer ends, with `SLOT`."""


class _Plain(NamedTuple):
    """A prompt that a general pattern fits."""

    subject: str
    questions: tuple[str, ...]
    statements: tuple[str, ...]


class TemplateWriter:
    """Says a fact in other words by patterns."""

    batch = 1024

    def describe(self) -> Mapping[str, str]:
        """Its name."""
        return {"writer": "template"}

    def write(self, edits: Sequence[Edit]) -> Iterator[Wording]:
        """Find wordings of each fact; one that no pattern fits gets a reason in their place."""
        # Control questions are of subjects that no fact of the file is about.
        edited = " ".join(edit.prompt for edit in edits).casefold()
        for edit in edits:
            yield _wording(edit, edited)

    def close(self) -> None:
        """There is nothing to let go of."""


def _wording(edit: Edit, edited: str) -> Wording:
    prompt = " ".join(edit.prompt.split())
    known = _known(prompt, edit.subject)
    plain = _plain(prompt, edit.target)
    if known is None and plain is None:
        return Wording(reason="no English pattern fits the prompt")
    questions: list[str] = []
    statements: list[str] = []
    if known is not None:
        questions += [text.replace(SLOT, known.subject) for text in known.questions]
        if known.statement is not None:
            statements.append(known.statement.replace(SLOT, known.subject))
    # Of a prompt that a relation words, a general pattern may take the subject too far.
    if plain is not None and (
        known is None or plain.subject.casefold() == known.subject.casefold()
    ):
        questions += plain.questions
        statements += plain.statements
    subject = known.subject if known is not None else plain.subject if plain is not None else ""
    at = prompt.casefold().find(subject.casefold())
    return Wording(
        rephrases=_mixed(prompt, questions, statements),
        subject=prompt[at : at + len(subject)],
        controls=_controls(known, prompt, edited),
        reverse=_reverse(known, edit),
    )


def _mixed(prompt: str, questions: list[str], statements: list[str]) -> tuple[str, ...]:
    """At most two other questions, a sentence, and the way of a chat."""
    others = [text for text in dict.fromkeys(questions) if text != prompt]
    capital = (f"{text[:1].upper()}{text[1:]}" for text in statements)
    sentences = [text for text in dict.fromkeys(capital) if text != prompt]
    asked = prompt if prompt.endswith("?") else next(iter(others), None)
    chat = [] if asked is None else [f"Please answer briefly: {asked}"]
    return tuple([*others[:2], *sentences[:1], *chat, *others[2:], *sentences[1:]])


def _controls(known: _Known | None, prompt: str, edited: str) -> tuple[Question, ...]:
    if known is None or known.templates is None:
        return ()
    return tuple(
        Question(prompt.replace(known.subject, other, 1), answer)
        for other, answer in controls_of(known.templates.key)
        if other.casefold() not in edited
    )


def _reverse(known: _Known | None, edit: Edit) -> Question | None:
    if known is None or known.templates is None:
        return None
    return Question(known.templates.reverse.replace(OBJECT, edit.target), known.subject)


def _known(prompt: str, subject: str | None) -> _Known | None:
    """Find the relation of a prompt, by its subject where it is given."""
    if subject and subject in prompt:
        wording = prompt.replace(subject, SLOT, 1)
        return _entry(wording, subject) if wording in _wordings() else None
    best: tuple[int, str, str] | None = None
    for wording, (start, end) in _wordings().items():
        letters = len(start) + len(end)
        if letters < _LEAST_LETTERS or (best is not None and letters <= best[0]):
            continue
        if len(prompt) > letters and prompt.startswith(start) and prompt.endswith(end):
            name = prompt[len(start) : len(prompt) - len(end)]
            if _is_name(name, inside=bool(start)):
                best = (letters, wording, name)
    return None if best is None else _entry(best[1], best[2])


def _is_name(text: str, *, inside: bool) -> bool:
    """Whether a text can be a subject: it is no question, and not a whole sentence.

    Inside a prompt a capital letter begins a name ("At Heaven's Gate"), before it a sentence.
    """
    return (
        text == text.strip()
        and 0 < len(text.split()) <= _MOST_WORDS
        and not text.endswith(("?", ","))
        and (not text.endswith(".") or _ABBREVIATION.search(text) is not None)
        and (_ASKING.match(text) is None or (inside and text[0].isupper()))
    )


def _entry(wording: str, subject: str) -> _Known:
    templates, own = _by_wording()[wording]
    questions = own.questions if own is not None else ()
    statement = templates.statement if templates is not None else None
    if templates is not None and own is not None and len(templates.bench) > 1:
        named = _named(wording, own)
        # "is located in" is wider than "in which country".
        if named is not None and named not in templates.statement:
            statement = None
    return _Known(subject, templates, questions, statement)


def _named(wording: str, relation: Relation) -> str | None:
    """What a relation asks for, if a wording names it: "country" in "Which country is [X] in?".

    It is the label's first word, where every question of the relation has it too.
    """
    word = relation.label.split()[0]
    texts = (wording, *relation.questions)
    return word if all(word in text.split() for text in texts) else None


@cache
def _wordings() -> dict[str, tuple[str, str]]:
    """All wordings, in two parts around the subject."""
    return {
        wording: (start, end)
        for wording in _by_wording()
        for start, _, end in [wording.partition(SLOT)]
    }


@cache
def _by_wording() -> dict[str, tuple[Templates | None, Relation | None]]:
    """What is known of the relation of each wording."""
    known = load_relations()
    own = {text: relation for relation in known for text in relation.questions}
    table: dict[str, tuple[Templates | None, Relation | None]] = {
        text: (None, relation) for text, relation in own.items()
    }
    for templates in relations():
        # A relation of several benchmark relations is wider than each of them: "where" is not
        # "in which country", unless the wording names what is asked for.
        each = [known.find(pid) for pid in templates.bench]
        for wording in templates.wordings:
            several = [one for one in each if len(each) == 1 or _named(wording, one)]
            table[wording] = (templates, own.get(wording) or (several[0] if several else None))
    return table


def _plain(prompt: str, target: str) -> _Plain | None:
    """Say again a prompt of a general form."""
    for pattern, make in _PATTERNS:
        match = pattern.fullmatch(prompt)
        if match is not None and _is_name(match["x"], inside=match.start("x") > 0):
            made = make(match, _YEAR.fullmatch(target.strip()) is not None)
            if made is not None:
                capital = tuple(f"{text[:1].upper()}{text[1:]}" for text in made.questions)
                return made._replace(questions=capital)
    return None


def _attribute(match: re.Match[str], _: bool) -> _Plain | None:
    noun, name, verb = match["n"], _inside(match), match["v"]
    head = noun.split()[-1].casefold().removesuffix("s")
    if _ASKING.match(noun) or len(noun.split()) > 4:
        return None
    asked = "Who" if head in _PERSONS or noun.split()[0].casefold() in _PERSONS else "What"
    asked = match.groupdict().get("w") or asked
    return _Plain(
        name,
        (
            f"{asked} {verb} the {noun} of {name}?",
            f"{asked} {verb} {_possessive(name)} {noun}?",
        ),
        (f"The {noun} of {name} {verb}", f"{_possessive(name)} {noun} {verb}"),
    )


def _doer(match: re.Match[str], _: bool) -> _Plain | None:
    verb, name = match["v"], _inside(match)
    done = _DONE.get(verb, verb)
    active = next(did for did, passive in _DONE.items() if passive == done)
    return _Plain(
        name,
        (f"Who {active} {name}?", f"By whom was {name} {done}?", f"{name} was {done} by whom?"),
        (f"{name} was {done} by",),
    )


def _time(match: re.Match[str], is_year: bool) -> _Plain | None:
    if not is_year:
        return None  # "When" may ask for a day, and a sentence with "in" does not
    name, done = _inside(match), match["v"]
    return _Plain(
        name,
        (
            f"In which year was {name} {done}?",
            f"When was {name} {done}?",
            f"What year was {name} {done} in?",
        ),
        (f"{name} was {done} in", f"The year in which {name} was {done} is"),
    )


def _place(match: re.Match[str], _: bool) -> _Plain:
    name = _inside(match)
    return _Plain(
        name,
        (f"Where is {name}?", f"Where is {name} located?", f"Where can {name} be found?"),
        (f"{name} is located in",),
    )


def _inside(match: re.Match[str]) -> str:
    """The subject as it stands inside a sentence: an article that began one is written small."""
    name = match["x"]
    return f"the {name[4:]}" if match.start("x") == 0 and name.startswith("The ") else name


def _possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


_N = r"(?P<n>[a-z][\w -]*?)"
_X = r"(?P<x>.+?)"
_V = r"(?P<v>is|was|are|were)"
_PATTERNS = (
    (re.compile(rf"(?P<w>Who|What) {_V} the {_N} of {_X}\?"), _attribute),
    (re.compile("(?P<w>Who|What) " + rf"{_V} {_X}['\u2019]s? {_N}\?"), _attribute),
    (re.compile(rf"The {_N} of {_X} {_V}"), _attribute),
    (re.compile(rf"{_X}['\u2019]s {_N} {_V}"), _attribute),
    (re.compile(rf"Who (?P<v>{'|'.join(_DONE)}) {_X}\?"), _doer),
    (re.compile(rf"By whom was {_X} (?P<v>{'|'.join(set(_DONE.values()))})\?"), _doer),
    (re.compile(rf"Who was {_X} (?P<v>{'|'.join(set(_DONE.values()))}) by\?"), _doer),
    (re.compile(rf"{_X} was (?P<v>{'|'.join(set(_DONE.values()))}) by"), _doer),
    (re.compile(rf"When was {_X} (?P<v>{_PASSIVE})\?"), _time),
    (
        re.compile(rf"(?:In )?(?:which|Which|what|What) year was {_X} (?P<v>{_PASSIVE})(?: in)?\?"),
        _time,
    ),
    (re.compile(rf"{_X} was (?P<v>{_PASSIVE}) in"), _time),
    (re.compile(rf"Where (?:is|can) {_X}(?: located| be found)?\?"), _place),
    (re.compile(rf"{_X} is located in"), _place),
)
"""General forms of prompts, the first that fits."""

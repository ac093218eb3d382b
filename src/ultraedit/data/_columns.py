"""Which column of a table holds what: one table of names, or what the user says.

A table comes with names of its own. `NAMES` lists what each part of a fact is called, in the
languages of the spreadsheets that were seen; a name is compared without its case, its accents'
encoding, its punctuation and a number at its end (``Rephrase 2``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ultraedit.core.errors import ConfigError, DataError, did_you_mean
from ultraedit.data._rows import shown

NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": (
        *("prompt", "question", "questions", "query", "cloze", "statement", "instruction"),
        *("frage", "fragen", "eingabe"),  # German
        *("invite", "énoncé"),  # French; question is the same word
        *("pregunta", "preguntas"),  # Spanish
        *("pergunta", "perguntas", "questão"),  # Portuguese
        *("domanda", "domande"),  # Italian
        *("vraag", "pytanie", "fråga", "spørgsmål", "spørsmål", "kysymys", "otázka", "kérdés"),
        *("întrebare", "ερώτηση", "soru", "pertanyaan", "câu hỏi"),
        *("вопрос", "запрос", "питання"),
        *("问题", "提问", "問題", "質問", "プロンプト", "提示", "질문"),
        *("سؤال", "السؤال", "प्रश्न", "सवाल", "שאלה", "คำถาม"),
    ),
    "target": (
        *("target", "target new", "new target", "answer", "answers", "new answer"),
        *("completion", "response", "output", "correct answer", "gold answer", "object"),
        *("antwort", "antworten", "neue antwort", "richtige antwort", "ausgabe"),
        *("réponse", "réponses", "nouvelle réponse"),
        *("respuesta", "respuestas", "nueva respuesta"),
        *("resposta", "respostas", "nova resposta"),
        *("risposta", "risposte", "nuova risposta"),
        *("antwoord", "odpowiedź", "svar", "vastaus", "odpověď", "odpoveď", "válasz"),
        *("răspuns", "απάντηση", "cevap", "jawaban", "trả lời", "câu trả lời"),
        *("ответ", "новый ответ", "відповідь"),
        *("答案", "回答", "新答案", "答え", "解答", "답", "답변", "정답"),
        *("جواب", "الجواب", "إجابة", "الإجابة", "उत्तर", "जवाब", "תשובה", "คำตอบ"),
    ),
    "input": ("input",),  # of Alpaca: what the instruction is about
    "subject": (
        *("subject", "entity", "subjekt", "sujet", "sujeto", "sujeito", "soggetto"),
        *("onderwerp", "podmiot", "субъект", "сущность", "主语", "主体", "実体", "主語", "주어"),
    ),
    "rephrases": (
        *("rephrase", "rephrases", "rephrase prompt", "paraphrase", "paraphrases", "rewording"),
        *("umformulierung", "umformulierungen", "reformulation", "reformulations"),
        *("paráfrasis", "reformulación", "paráfrase", "parafrasi", "parafrase", "parafraza"),
        *("перефразировка", "парафраз", "改写", "复述", "言い換え", "바꿔쓰기"),
    ),
    "aliases": (
        *("alias", "aliases", "answer alias", "answer aliases", "alternative answer"),
        *("alternative answers", "other answers", "weitere antworten", "alternative antworten"),
        *("autres réponses", "otras respuestas", "别名", "別名", "별칭"),
    ),
    "locality": (
        *("locality", "locality prompt", "control question", "unrelated question"),
        *("kontrollfrage", "question de contrôle", "pregunta de control", "对照问题"),
    ),
    "locality_target": (
        *("locality target", "locality answer", "locality ground truth", "control answer"),
        *("unrelated answer", "kontrollantwort", "réponse de contrôle", "respuesta de control"),
    ),
    "id": (
        *("id", "case id", "key", "row id", "no", "nr", "nummer", "number", "numéro", "número"),
        *("numero", "lfd nr", "номер", "编号", "序号", "番号", "번호"),
    ),
}
"""What the columns of people's tables are called, by the part of a fact that they hold."""

LISTS = ("rephrases", "aliases", "locality")
"""The parts that may have several columns."""

_REQUIRED = ("prompt", "target")

Columns = tuple[tuple[str, str], ...]
"""Pairs of a part of a fact and the name of its column, as the user gave them."""


class ColumnPlan(NamedTuple):
    """Where the parts of a fact stand in a row."""

    places: tuple[tuple[str, int], ...]
    """Each part with the place of its column, from 0. `LISTS` may have several."""

    width: int
    """How many columns a row has."""

    names: tuple[str, ...]
    """The names of all columns."""

    @property
    def used(self) -> dict[str, list[str]]:
        """The names of the columns that each part is taken from."""
        used: dict[str, list[str]] = {}
        for part, at in self.places:
            used.setdefault(part, []).append(self.names[at])
        return used

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that nothing is taken from."""
        used = {place for _, place in self.places}
        return tuple(name for at, name in enumerate(self.names) if at not in used and name)


def parse_columns(text: str) -> Columns:
    """Read ``prompt=Question,target=Answer``.

    Args:
        text: What the user typed.

    Raises:
        ConfigError: If it is no list of ``PART=COLUMN``, or a part is unknown or named twice.
    """
    given = []
    for piece in text.split(","):
        part, equals, name = (each.strip() for each in piece.partition("="))
        if not equals or not part or not name:
            raise ConfigError(
                f"--columns takes PART=COLUMN pairs such as prompt=Question,target=Answer, "
                f"got {piece.strip()!r}."
            )
        given.append((part, name))
    return check_columns(given)


def check_columns(pairs: Sequence[tuple[str, str]] | Mapping[str, str]) -> Columns:
    """Check the parts of a choice of columns.

    Raises:
        ConfigError: If a part is unknown, or one that takes a single column is named twice.
    """
    pairs = tuple(pairs.items()) if isinstance(pairs, Mapping) else tuple(pairs)
    seen = set()
    for part, name in pairs:
        if part not in NAMES:
            raise ConfigError(f"No part of a fact is called {part!r}. {did_you_mean(part, NAMES)}")
        if part in seen and part not in LISTS:
            raise ConfigError(f"{part} takes one column, and {name!r} is a second one.")
        seen.add(part)
    return pairs


def plan(header: Sequence[str], given: Columns, place: str) -> ColumnPlan:
    """Find the columns of a table.

    Args:
        header: The names of its columns.
        given: What the user said of them; the rest is found by `NAMES`.
        place: The file and the line of the header, for messages.

    Raises:
        DataError: If a named column is not there, the prompt or the target is in no column, or
            more than one column could be one of them.
    """
    names = tuple(name.strip() for name in header)
    places = [(part, _place_of(name, names, place)) for part, name in given]
    taken, parts = {at for _, at in places}, {part for part, _ in places}
    guessed: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        part = part_of(name)
        if part is not None and part not in parts and at not in taken:
            guessed.setdefault(part, []).append(at)
    for part, matches in guessed.items():
        if len(matches) > 1 and part not in LISTS:
            if part not in _REQUIRED:
                continue  # which of two numbers is the id does not matter
            two = " and ".join(repr(names[at]) for at in matches[:3])
            raise DataError(
                f"{place}: the columns {two} could each be the {part}. "
                f"Say which: --columns {part}={names[matches[0]]}."
            )
        places += [(part, at) for at in matches]
    if "prompt" not in {part for part, _ in places}:
        places = [("prompt" if part == "input" else part, at) for part, at in places]
    for part in _REQUIRED:
        if part not in {each for each, _ in places}:
            listed = shown(", ".join(map(repr, names)), quote=False, length=200)
            raise DataError(
                f"{place}: no column is known to hold the {part}; the columns are {listed}. "
                f"Name it, such as --columns prompt=COLUMN,target=COLUMN; the first row must "
                "hold the names of the columns."
            )
    return ColumnPlan(tuple(places), len(names), names)


def part_of(name: str) -> str | None:
    """The part of a fact that a column of this name holds; None if no part is called so."""
    folded = _fold(name)
    return _PARTS.get(folded) or _PARTS.get(re.sub(r" ?\d+$", "", folded))


def recognized(header: Sequence[str]) -> int:
    """How many columns of a header have a name that `NAMES` lists."""
    return sum(part_of(name) is not None for name in header)


def _place_of(name: str, names: Sequence[str], place: str) -> int:
    """Where a column stands that the user named, in any case."""
    folded = _fold(name)
    for match in (
        [at for at, each in enumerate(names) if each == name],
        [at for at, each in enumerate(names) if _fold(each) == folded],
    ):
        if len(match) == 1:
            return match[0]
        if match:
            raise DataError(f"{place}: {len(match)} columns are called {name!r}. Rename one.")
    raise DataError(f"{place}: there is no column {name!r}. {did_you_mean(name, names)}")


def _fold(name: str) -> str:
    """A name without what spreadsheets write differently each time."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip()


_PARTS = {_fold(name): part for part, names in NAMES.items() for name in names}

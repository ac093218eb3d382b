"""From a document to facts: questions and answers, each with the passage that it rests on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data._check import appears
from ultraedit.data._encoding import find_encoding
from ultraedit.data._files import opened, require_file
from ultraedit.data._repeats import fold
from ultraedit.tools.bench_builder.writers.local import LocalWriter
from ultraedit.tools.bench_builder.writers.openai import OpenAIWriter

SHORTEST, LONGEST = 40, 1200
"""Letters of a passage. What is shorter holds no fact; what is longer is cut between sentences."""

MOST_ANSWER = 12
"""Words of an answer: what is longer is no fact that can be asked for."""


_POINTING = re.compile(
    r"(?i)\b(?:this|these|(?:the|this) (?:text|passage|above|following|document|author))\b"
)
"""Words by which a question points at the text that it was asked about."""


class Draft(NamedTuple):
    """A fact that a writer proposes."""

    prompt: str
    target: str
    passage: str

    def to_row(self) -> dict[str, str]:
        """The fact as a row of the package's own format."""
        return self._asdict()


class Drafted(NamedTuple):
    """The result of a passage."""

    facts: tuple[Draft, ...]

    dropped: int
    """Facts whose answer is not in the passage, is in the question, or is too long; and those
    whose question points at the passage ("this error"), so that nobody can ask it without."""


class DraftWriter(Protocol):
    """Proposes facts."""

    def propose(self, passages: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
        """Questions and answers of each passage, in their order."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def draft(passages: Sequence[str], writer: DraftWriter) -> Iterator[Drafted]:
    """Propose facts, and keep those whose answer stands in their passage.

    Args:
        passages: The document.
        writer: Who proposes.

    Yields:
        The result of each passage, in their order. No question comes twice.
    """
    seen: set[str] = set()
    for passage, pairs in zip(passages, writer.propose(passages), strict=True):
        facts, dropped = [], 0
        for prompt, target in pairs:
            prompt, target = " ".join(prompt.split()), " ".join(target.split()).rstrip(".")
            if fold(prompt) in seen:
                continue
            if not _rests_on(prompt, target, passage):
                dropped += 1
                continue
            seen.add(fold(prompt))
            facts.append(Draft(prompt, target, passage))
        yield Drafted(tuple(facts), dropped)


def _rests_on(prompt: str, target: str, passage: str) -> bool:
    return (
        bool(prompt and target)
        and len(target.split()) <= MOST_ANSWER
        and appears(target, passage)
        and not appears(target, prompt)
        and _POINTING.search(prompt) is None
    )


# Documents


def read_passages(path: Path) -> list[str]:
    """Cut a document into passages.

    Args:
        path: Markdown, HTML, PDF or plain text.

    Raises:
        DataError: If there is no such file, it cannot be read, or it has no passage.
        ConfigError: If what reads it is not installed.
    """
    require_file(path)
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        text = _pdf(path)
    else:
        with opened(path) as handle:
            text = handle.read().decode(find_encoding(path))
        text = _html(text) if suffix in (".html", ".htm") else _markdown(text)
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    passages = [piece for block in blocks for piece in _pieces(block) if len(piece) >= SHORTEST]
    if not passages:
        raise DataError(
            f"{path} has no passage of {SHORTEST} letters or more. A scanned page holds pictures "
            "of text: give the text."
        )
    return passages


def _pieces(block: str) -> Iterator[str]:
    """A paragraph, cut between sentences where it is long."""
    piece = ""
    for sentence in re.split(r"(?<=[.!?。！？])\s+", block):  # noqa: RUF001
        if piece and len(piece) + len(sentence) > LONGEST:
            yield piece
            piece = ""
        piece = f"{piece} {sentence}".strip()
    if piece:
        yield piece


def _markdown(text: str) -> str:
    """Markdown without code, tables, marks and addresses."""
    text = re.sub(r"(?ms)^(```|~~~).*?^\1[^\n]*$", "\n\n", text)
    text = re.sub(r"(?m)^\s*\|.*$", "", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?m)^#+\s.*$", "\n", text)
    text = re.sub(r"(?m)^\s*(?:[-*+]|\d+\.)\s+", "\n\n", text)
    text = re.sub(r"`+([^`]*)`+", r"\1", text)
    text = re.sub(r"\*{1,3}([^*\s](?:[^*]*[^*\s])?)\*{1,3}", r"\1", text)
    return re.sub(r"(?<!\w)_{1,3}([^_\s](?:[^_]*[^_\s])?)_{1,3}(?!\w)", r"\1", text)


class _PageText(HTMLParser):
    """The text of a page, with empty lines between its blocks."""

    _BLOCKS = frozenset(
        ("p", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "td", "th", "tr", "section", "br")
    )
    _SKIPPED = frozenset(("script", "style", "head", "nav", "pre", "code"))

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._skipping += tag in self._SKIPPED
        if tag in self._BLOCKS:
            self.pieces.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SKIPPED and self._skipping:
            self._skipping -= 1
        if tag in self._BLOCKS:
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.pieces.append(data)


def _html(text: str) -> str:
    parser = _PageText()
    parser.feed(text)
    return "".join(parser.pieces)


def _pdf(path: Path) -> str:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ModuleNotFoundError:
        raise ConfigError(
            f"{path} takes pypdf to read: pip install 'ultraedit[documents]', or give its text."
        ) from None
    try:
        return "\n\n".join(page.extract_text() for page in PdfReader(path).pages)
    except (PyPdfError, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as PDF: {error}.") from error


# Writers

_SYSTEM = "You find facts in a text. You reply with one JSON array and nothing else."

_TASK = """\
Text:
{passage}

Write up to three facts of this text as questions with short answers. Each question can be \
understood without the text: it names what it is about. Each answer is copied from the text letter \
by letter, is as short as it can be, and does not stand in its question.

Reply in this form: [{{"question": "...", "answer": "..."}}]"""


class AskingDrafter:
    """Asks a chat model about each passage."""

    def __init__(self, client: OpenAIWriter) -> None:
        """Take the builder's writer, for its client and its file of replies."""
        self._client = client

    def propose(self, passages: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
        """Ask about several passages at once; a reply of another form proposes nothing."""
        tasks = [_TASK.format(passage=passage) for passage in passages]
        for pairs in self._client.ask_all(_SYSTEM, tasks, _parse):
            yield pairs or []

    def close(self) -> None:
        """Let go of the file and the connections."""
        self._client.close()


def _parse(text: str) -> list[tuple[str, str]] | None:
    start, end = text.find("["), text.rfind("]")
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    pairs = [(row.get("question"), row.get("answer")) for row in value if isinstance(row, dict)]
    return [(q, a) for q, a in pairs if isinstance(q, str) and isinstance(a, str)]


_EXAMPLES = (
    (
        "Halley's Comet returns every 75 years. Edmond Halley computed its orbit in 1705.",
        "Who computed the orbit of Halley's Comet?",
        "Edmond Halley",
    ),
    (
        "The novel Emma by Jane Austen was first published in December 1815 by John Murray.",
        "Who published the novel Emma?",
        "John Murray",
    ),
    (
        "Lake Chad lies in the west of Chad and is fed mainly by the river Chari.",
        "Which river feeds Lake Chad?",
        "the river Chari",
    ),
)


class CompletingDrafter:
    """Lets any model go on with a text of examples: one fact of a passage."""

    def __init__(self, writer: LocalWriter) -> None:
        """Take the builder's writer."""
        self._writer = writer

    def propose(self, passages: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
        """Ask for a question about each passage, then for its answer."""
        shown = "\n\n".join(f"Text: {t}\nQuestion: {q}\nAnswer: {a}" for t, q, a in _EXAMPLES)
        texts = [f"{shown}\n\nText: {passage}\nQuestion:" for passage in passages]
        questions = self._writer.go_on(texts)
        answered = [f"{text} {q or '?'}\nAnswer:" for text, q in zip(texts, questions, strict=True)]
        for question, answer in zip(questions, self._writer.complete(answered), strict=True):
            yield [(question, answer)] if question.endswith("?") else []

    def close(self) -> None:
        """Let go of what the writer holds."""
        self._writer.close()

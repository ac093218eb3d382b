"""What a page says, before it is Markdown or HTML: blocks of text, tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ultraedit.report.figures import Drawing

LONGEST = 200
"""Characters of an answer or a prompt that are shown."""


@dataclass(frozen=True)
class Code:
    """A text to be read letter by letter, such as a path."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Emphasis:
    """A word about the content that is not the content itself."""

    text: str
    kind: ClassVar[str] = "emphasis"


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right."""

    right: bool
    kind: ClassVar[str] = "verdict"

    @property
    def text(self) -> str:
        """The word for it."""
        return "right" if self.right else "wrong"


@dataclass(frozen=True)
class Break:
    """The end of a line inside a cell."""

    text: ClassVar[str] = "\n"
    kind: ClassVar[str] = "break"


Piece = str | Code | Emphasis | Verdict | Break
"""A part of a line. A plain string is shown letter by letter; its line ends are line ends."""

Line = Piece | Sequence[Piece]
"""The content of a paragraph or a cell."""


@dataclass(frozen=True)
class Heading:
    """The title of a section; level 1 is that of the page."""

    text: str
    level: int = 2
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, perhaps with a first sentence that stands out."""

    line: Line
    lead: Line = ""
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Warned:
    """A paragraph that nobody should miss."""

    line: Line
    kind: ClassVar[str] = "warned"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    lines: Sequence[Line]
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True)
class Table:
    """A table. `align` has one letter per column: ``l`` text, ``r`` numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[Line]]
    align: str
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Listing:
    """A text as it is: commands to be typed, or a prompt."""

    text: str
    language: Literal["sh", "text"] = "sh"
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Number:
    """A figure that is seen before anything is read."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Numbers:
    """The most important figures: tiles on a page of HTML, the line alone in Markdown."""

    numbers: Sequence[Number]
    line: Line
    kind: ClassVar[str] = "numbers"


@dataclass(frozen=True)
class Picture:
    """A plot: a file beside a page of Markdown, a part of a page of HTML."""

    name: str
    """File name of the PNG."""
    alt: str
    draw: Callable[[], Drawing]
    kind: ClassVar[str] = "picture"


Block = Heading | Paragraph | Warned | Bullets | Table | Listing | Numbers | Picture


def pieces(line: Line) -> Sequence[Piece]:
    """A line as its pieces."""
    return (line,) if isinstance(line, Piece) else line


def words(line: Line) -> str:
    """A line as a terminal shows it."""
    return "".join(piece if isinstance(piece, str) else piece.text for piece in pieces(line))


def said(text: str) -> str:
    """A text of a model or of the data, cut to what a page has room for."""
    text = text.strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def plain(name: str) -> str:
    """A name without the folders before it, where a path would drown the sentence."""
    return name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]

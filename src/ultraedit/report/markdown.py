"""Pages of Markdown, in which any text is shown as it is and breaks nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ultraedit.core.symbols import visible

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST = 200
"""Characters of an answer or a prompt that are shown."""

_MARKUP = re.compile(r"([\\`*_\[\]<>|~&$])")
_BLOCK = re.compile(r"^(\d{0,9})([-+.)]|#+)(?=\s|$)|(#)$")
"""What would make a list or a title of a line that begins so, or is lost at the end of a title."""


class Markdown(str):
    """A text that is Markdown already. All other texts in a template are shown literally."""

    __slots__ = ()


def shorten_text(text: str) -> str:
    """A text of a model or of the data, cut to what a page has room for."""
    text = text.strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def escape(text: str) -> str:
    """Show a text of a model or of the data literally, on one line, cut if it is long."""
    return literal(shorten_text(text))


def literal(text: str) -> Markdown:
    """Show a text literally, on one line: markup is escaped, a line end becomes ``<br>``."""
    return Markdown("<br>".join(_MARKUP.sub(r"\\\1", line) for line in _lines(text)))


def code(text: str, *, in_table: bool = True) -> Markdown:
    """Show a text as a code span, whose pipes are escaped in a table and nowhere else."""
    text = " ".join(_lines(text))
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not text.strip() else ""
    span = f"{fence}{space}{text}{space}{fence}"
    return Markdown(span.replace("|", r"\|") if in_table else span)


def link(name: str) -> Markdown:
    """The name of a file as the target of a link."""
    escaped = _MARKUP.sub(r"\\\1", name)
    return Markdown(name if re.fullmatch(r"[\w./-]+", name) else f"<{escaped}>")


def listing(text: str, language: str) -> Markdown:
    """Show a text of many lines as it is: commands to be typed, or a prompt."""
    fence = "```"
    while fence in text:
        fence += "`"
    return Markdown(f"{fence}{language}\n{text}\n{fence}")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> Markdown:
    """Lay cells out as a table.

    Args:
        header: Names of the columns.
        rows: The cells. Texts are shown literally unless they are `Markdown`.
        align: One letter per column, ``l`` or ``r``.
    """
    rule = [Markdown("---:" if letter == "r" else "---") for letter in align]
    lines = [map(_cell, cells) for cells in (header, rule, *rows)]
    return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder in. Whatever it shows is literal, unless it is `Markdown`."""
    return visible(environment().get_template(template).render(values))


@cache
def environment() -> Environment:
    """How templates of Markdown are read: with the filters ``code`` and ``listing``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("ultraedit.report"),
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["code"] = lambda text: code(text, in_table=False)
    made.filters["listing"] = listing
    return made


def _cell(text: str) -> str:
    return text if isinstance(text, Markdown) else literal(text)


def _shown(value: Any) -> str:
    """What a template shows, be it at the start of a line or within."""
    if isinstance(value, Markdown):
        return value
    return _BLOCK.sub(r"\1\\\2\3", literal(str(value)))


def _lines(text: str) -> list[str]:
    """The lines of a text, with nothing in them that lays a page out."""
    return visible(text).replace("\t", " ").splitlines()

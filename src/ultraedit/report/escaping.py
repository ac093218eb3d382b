"""Any text as part of a Markdown page, shown as it is and breaking nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ultraedit.core.symbols import visible
from ultraedit.report.blocks import said

_MARKUP = re.compile(r"([\\`*_\[\]<>|~&$])")


def escape(text: str) -> str:
    """Show a text of a model or of the data literally, on one line, cut if it is long."""
    return literal(said(text))


def literal(text: str) -> str:
    """Show a text literally, on one line: markup is escaped, a line end becomes ``<br>``."""
    return "<br>".join(_MARKUP.sub(r"\\\1", line) for line in _lines(text))


def code(text: str) -> str:
    """Show a text as a code span that may stand in a table."""
    text = " ".join(_lines(text))
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Lay cells out as a Markdown table.

    Args:
        header: Names of the columns.
        rows: The cells, as Markdown without a bare pipe or line end.
        align: One letter per column, ``l`` or ``r``.
    """
    rule = ["---:" if letter == "r" else "---" for letter in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _lines(text: str) -> list[str]:
    """The lines of a text, with nothing in them that lays a page out."""
    return visible(text).replace("\t", " ").splitlines()

"""A table as the paper lays it out, and its four forms: Markdown, CSV, LaTeX, JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from ultraedit.report.escaping import escape, table
from ultraedit.tools.reproduce.book import Source, Value

MISSING = "-"

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_LATEX |= {"Δ": r"$\Delta$", "✓": r"\checkmark{}", "✗": r"$\times$"}


@dataclass(frozen=True)
class Cell:
    """One place of a table: what was found here beside what the paper prints."""

    ours: float | str | None
    """An ``int`` is a count."""
    published: float | str | None = None
    sources: tuple[Source, ...] = ()
    signed: bool = False
    """Whether a number shows its sign, as a difference does."""

    @property
    def difference(self) -> float | None:
        """Ours minus the published number."""
        if isinstance(self.ours, str) or isinstance(self.published, str):
            return None
        if self.ours is None or self.published is None:
            return None
        return self.ours - self.published

    @property
    def text(self) -> str:
        """``ours (published, difference)``; what is not there is a dash."""
        ours = _shown(self.ours, signed=self.signed)
        if self.published is None:
            return ours
        published = _shown(self.published, signed=self.signed)
        if self.difference is None:
            return f"{ours} ({published})"
        return f"{ours} ({published}, {self.difference:+.2f})"


def cell(value: Value | None, published: float | str | None = None) -> Cell:
    """The place of a number that was found, or was not."""
    if value is None:
        return Cell(None, published)
    return Cell(value.number, published, value.sources)


Groups = tuple[tuple[str, tuple[str, ...]], ...]
"""Headings of groups of columns, and of the columns in each."""

Rows = tuple[tuple[str, tuple[Cell, ...]], ...]
"""Rows by name."""

Blocks = tuple[tuple[str, Rows], ...]
"""A heading, empty if there is none, and the rows below it."""


@dataclass(frozen=True)
class Sheet:
    """A whole table."""

    id: str
    title: str
    first: str
    """Heading of the first column."""
    groups: Groups
    blocks: Blocks
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def columns(self) -> list[str]:
        """Headings of the columns behind the first, with their groups'."""
        return [f"{group} {name}".strip() for group, names in self.groups for name in names]

    @property
    def caption(self) -> str:
        """What stands in a place, and whose numbers ours stand beside."""
        theirs = [each for *_, each in self.cells() if each.published is not None]
        if not theirs:
            return f"Ours alone. What they are to be compared with: {self.source}."
        numbers = any(isinstance(each.published, float) for each in theirs)
        form = "published, ours minus published" if numbers else "published"
        return f"Ours ({form}). Published: {self.source}."

    @property
    def align(self) -> str:
        """A letter for each column: ``l`` for names and texts, ``r`` for numbers and ticks."""
        texts = {
            column
            for *_, column, each in self.cells()
            if any(
                isinstance(value, str) and len(value) > 1 for value in (each.ours, each.published)
            )
        }
        return "l" + "".join("l" if column in texts else "r" for column in self.columns)

    def cells(self) -> Iterator[tuple[str, str, str, Cell]]:
        """Every place with its block, its row and its column."""
        for block, rows in self.blocks:
            for name, cells in rows:
                for column, each in zip(self.columns, cells, strict=True):
                    yield block, name, column, each


def to_markdown(sheet: Sheet, image: str | None = None) -> str:
    """The page of a table or figure."""
    parts = [f"# {escape(sheet.title)}"]
    if image is not None:
        parts.append(f"![{escape(sheet.title)}]({image})")
    parts.append(_literal(sheet.caption))
    rows: list[list[str]] = []
    for block, named in sheet.blocks:
        if block:
            rows.append([f"**{escape(block)}**", *[""] * len(sheet.columns)])
        rows += [[escape(name), *(escape(each.text) for each in cells)] for name, cells in named]
    header = [escape(each) for each in (sheet.first, *sheet.columns)]
    parts.append(table(header, rows, sheet.align))
    if sheet.notes:
        parts.append("\n".join(f"- {_literal(note)}" for note in sheet.notes))
    return "\n\n".join(parts) + "\n"


def to_csv(sheet: Sheet) -> str:
    """A line for each place, with where its number stands."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("block", "row", "column", "ours", "published", "difference", "sources"))
    for block, name, column, each in sheet.cells():
        sources = " ".join(f"{s.run}/{s.file}#{s.field}" for s in each.sources)
        values = (each.ours, each.published, each.difference)
        writer.writerow((block, name, column, *map(_plain, values), sources))
    return text.getvalue()


def to_json(sheet: Sheet) -> str:
    """The same with all digits, and what the page says beside."""
    found: dict[str, Any] = {
        "id": sheet.id,
        "title": sheet.title,
        "published": sheet.source,
        "notes": list(sheet.notes),
        "cells": [
            {
                "block": block,
                "row": name,
                "column": column,
                "ours": each.ours,
                "published": each.published,
                "difference": each.difference,
                "from": [source._asdict() for source in each.sources],
            }
            for block, name, column, each in sheet.cells()
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def to_latex(sheet: Sheet) -> str:
    """A table for ``booktabs`` and ``amssymb``, groups over their columns as in the paper."""
    width = 1 + len(sheet.columns)
    lines = [rf"\begin{{tabular}}{{{sheet.align}}}", r"\toprule"]
    if any(group for group, _ in sheet.groups):
        spans = (rf"\multicolumn{{{len(names)}}}{{c}}{{{_tex(g)}}}" for g, names in sheet.groups)
        lines.append(" & ".join(("", *spans)) + r" \\")
    names = [name for _, names in sheet.groups for name in names]
    lines += [" & ".join(map(_tex, (sheet.first, *names))) + r" \\", r"\midrule"]
    for number, (block, rows) in enumerate(sheet.blocks):
        lines += [r"\midrule"] * bool(number)
        if block:
            lines.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(block)}}} \\")
        lines += [" & ".join(map(_tex, _row(name, cells))) + r" \\" for name, cells in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    about = [f"% {sheet.title}", f"% {sheet.caption}", "% Packages: booktabs, amssymb."]
    return "\n".join([*about, *(f"% {note}" for note in sheet.notes), *lines]) + "\n"


def _literal(text: str) -> str:
    # Word by word: `escape` cuts off what is too long for a cell.
    return " ".join(map(escape, text.split()))


def _row(name: str, cells: Sequence[Cell]) -> list[str]:
    return [name, *(each.text for each in cells)]


def _shown(value: float | str | None, *, signed: bool = False) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:+.2f}" if signed else f"{value:.2f}"


def _plain(value: float | str | None) -> str:
    return "" if value is None else str(value) if isinstance(value, str | int) else repr(value)


def _tex(text: str) -> str:
    return re.sub(r"[&%$#_{}~^\\Δ✓✗]", lambda found: _LATEX[found[0]], text)

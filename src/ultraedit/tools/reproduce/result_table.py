"""A table as the paper lays it out, and its four forms: Markdown, CSV, LaTeX, JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.files import write_bytes, write_text
from ultraedit.report.markdown import Markdown, escape, table
from ultraedit.tools.reproduce.records import Source, Value

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


def cell(
    value: Value | None, published: float | str | None = None, *, signed: bool = False
) -> Cell:
    """The place of a number that is there, or is not."""
    number, sources = (None, ()) if value is None else value
    return Cell(number, published, sources, signed)


class Result(NamedTuple):
    """A place of a table: a row of the long table behind it."""

    block: str
    """Heading above its row; empty if there is none."""
    row: str
    group: str
    """Heading above its column, likewise."""
    column: str
    cell: Cell
    point: int = 0
    """Which of the rows of this name it is in."""


@dataclass(frozen=True)
class ResultTable:
    """A whole table."""

    id: str
    title: str
    first: str
    """Heading of the first column."""
    results: tuple[Result, ...]
    """Its places, row by row; all rows have the same columns."""
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def groups(self) -> dict[str, list[str]]:
        """Headings of groups of columns, and of the columns in each."""
        groups: dict[str, list[str]] = {}
        for group, column in dict.fromkeys((each.group, each.column) for each in self.results):
            groups.setdefault(group, []).append(column)
        return groups

    @property
    def columns(self) -> list[str]:
        """Headings of the columns behind the first, with their groups'."""
        return list(dict.fromkeys(map(_column, self.results)))

    @property
    def blocks(self) -> list[tuple[str, list[tuple[str, list[Cell]]]]]:
        """The results as they are laid out: headings, and the rows below each with their names."""
        blocks: dict[str, dict[tuple[str, int], list[Cell]]] = {}
        for each in self.results:
            rows = blocks.setdefault(each.block, {})
            rows.setdefault((each.row, each.point), []).append(each.cell)
        return [
            (block, [(name, cells) for (name, _), cells in rows.items()])
            for block, rows in blocks.items()
        ]

    @property
    def caption(self) -> str:
        """What stands in a place, and whose numbers ours stand beside."""
        theirs = [each.cell for each in self.results if each.cell.published is not None]
        if not theirs:
            return f"Ours alone. What they are to be compared with: {self.source}."
        numbers = any(isinstance(each.published, float) for each in theirs)
        form = "published, ours minus published" if numbers else "published"
        return f"Ours ({form}). Published: {self.source}."

    @property
    def align(self) -> str:
        """A letter for each column: ``l`` for names and texts, ``r`` for numbers and ticks."""
        texts = {
            _column(each)
            for each in self.results
            for value in (each.cell.ours, each.cell.published)
            if isinstance(value, str) and len(value) > 1
        }
        return "l" + "".join("l" if column in texts else "r" for column in self.columns)


def _column(each: Result) -> str:
    return f"{each.group} {each.column}".strip()


@dataclass(frozen=True)
class Rendered:
    """A table or figure, ready to be written."""

    result_table: ResultTable
    image: bytes | None = None
    """The figure as a PNG."""

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write all forms into a folder, the page last. Returns their paths."""
        id = self.result_table.id
        folder.mkdir(parents=True, exist_ok=True)
        picture = None if self.image is None else f"{id}.png"
        texts = {
            f"{id}.csv": to_csv(self.result_table),
            f"{id}.json": to_json(self.result_table),
            f"{id}.tex": to_latex(self.result_table),
            f"{id}.md": to_markdown(self.result_table, picture),
        }
        if picture is not None and self.image is not None:
            write_bytes(folder / picture, self.image)
        for name, text in texts.items():
            write_text(folder / name, text)
        return tuple(folder / name for name in (*texts, *([picture] if picture else [])))


def to_markdown(result_table: ResultTable, image: str | None = None) -> str:
    """The page of a table or figure."""
    parts = [f"# {escape(result_table.title)}"]
    if image is not None:
        parts.append(f"![{escape(result_table.title)}]({image})")
    parts.append(_literal(result_table.caption))
    rows: list[list[str]] = []
    for block, named in result_table.blocks:
        if block:
            rows.append([Markdown(f"**{escape(block)}**"), *[""] * len(result_table.columns)])
        rows += [[escape(name), *(escape(each.text) for each in cells)] for name, cells in named]
    header = [escape(each) for each in (result_table.first, *result_table.columns)]
    parts.append(table(header, rows, result_table.align))
    if result_table.notes:
        parts.append("\n".join(f"- {_literal(note)}" for note in result_table.notes))
    return "\n\n".join(parts) + "\n"


def to_csv(result_table: ResultTable) -> str:
    """A line for each place, with where its number stands."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("block", "row", "column", "ours", "published", "difference", "sources"))
    for each in result_table.results:
        cell = each.cell
        sources = " ".join(f"{s.run}/{s.file}#{s.field}" for s in cell.sources)
        values = map(_plain, (cell.ours, cell.published, cell.difference))
        writer.writerow((each.block, each.row, _column(each), *values, sources))
    return text.getvalue()


def to_json(result_table: ResultTable) -> str:
    """The same with all digits, and what the page says beside."""
    page: dict[str, Any] = {
        "id": result_table.id,
        "title": result_table.title,
        "published": result_table.source,
        "notes": list(result_table.notes),
        "cells": [
            {
                "block": each.block,
                "row": each.row,
                "column": _column(each),
                "ours": each.cell.ours,
                "published": each.cell.published,
                "difference": each.cell.difference,
                "from": [source._asdict() for source in each.cell.sources],
            }
            for each in result_table.results
        ],
    }
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"


def to_latex(result_table: ResultTable) -> str:
    """A table for ``booktabs`` and ``amssymb``, groups over their columns as in the paper."""
    width = 1 + len(result_table.columns)
    lines = [rf"\begin{{tabular}}{{{result_table.align}}}", r"\toprule"]
    groups = result_table.groups.items()
    if any(result_table.groups):
        spans = (rf"\multicolumn{{{len(names)}}}{{c}}{{{_tex(g)}}}" for g, names in groups)
        lines.append(" & ".join(("", *spans)) + r" \\")
    names = [name for _, names in groups for name in names]
    lines += [" & ".join(map(_tex, (result_table.first, *names))) + r" \\", r"\midrule"]
    for number, (block, rows) in enumerate(result_table.blocks):
        lines += [r"\midrule"] * bool(number)
        if block:
            lines.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(block)}}} \\")
        lines += [" & ".join(map(_tex, _row(name, cells))) + r" \\" for name, cells in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    about = [
        f"% {result_table.title}",
        f"% {result_table.caption}",
        "% Packages: booktabs, amssymb.",
    ]
    return "\n".join([*about, *(f"% {note}" for note in result_table.notes), *lines]) + "\n"


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
    return re.sub(r"[&%$#_{}~^\\Δ✓✗]", lambda sign: _LATEX[sign[0]], text)

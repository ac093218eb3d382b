"""A page as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from ultraedit.core.symbols import visible
from ultraedit.report.blocks import (
    Block,
    Break,
    Bullets,
    Code,
    Emphasis,
    Heading,
    Line,
    Listing,
    Numbers,
    Paragraph,
    Picture,
    Piece,
    Table,
    Verdict,
    Warned,
    pieces,
)
from ultraedit.report.escaping import code, literal, table


def to_markdown(blocks: Iterable[Block]) -> str:
    """Write blocks as a page of Markdown. Pictures are linked by their file names."""
    return visible("\n\n".join(map(_block, blocks))) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {literal(block.text)}"
        case Paragraph():
            lead = f"**{_line(block.lead)}** " if block.lead else ""
            return f"{lead}{_line(block.line)}"
        case Warned():
            return f"> **Warning:** {_line(block.line)}"
        case Bullets():
            return "\n".join(f"- {_line(line)}" for line in block.lines)
        case Table():
            rows = [[_line(cell) for cell in row] for row in block.rows]
            return table([literal(name) for name in block.header], rows, block.align)
        case Listing():
            fence = "```"
            while fence in block.text:
                fence += "`"
            return f"{fence}{block.language}\n{block.text}\n{fence}"
        case Numbers():
            return _line(block.line)
        case Picture():
            return f"![{literal(block.alt)}]({block.name})"


def _line(line: Line) -> str:
    return "".join(map(_piece, pieces(line)))


def _piece(piece: Piece) -> str:
    match piece:
        case str():
            return literal(piece)
        case Code():
            return code(piece.text)
        case Emphasis():
            return f"*{literal(piece.text)}*"
        case Verdict():
            return piece.text
        case Break():
            return "<br>"

"""A page as one file of HTML that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from ultraedit.core.symbols import visible
from ultraedit.report.figures import INK, MUTED, RULE, Drawing
from ultraedit.report.markdown import render

TILES = "tiles"
"""Language of a listing that is shown as tiles: a label, a value and a note a line, with tabs."""

_VERDICTS = {"right": "✓", "wrong": "✗"}
"""Cells below no heading that say so stand out."""

_THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", "#000000": "var(--ink)"}
"""Colors of a plot that depend on the theme of the page; the others stand out on both."""

_PROLOGUE = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", flags=re.DOTALL)
_PIXELS_A_POINT = 1.48
"""Nine inches are 960 pixels where there is room: letters nearly as large as those of the text."""

_NARROWEST = 0.6
"""Part of it to which a plot shrinks; beyond that it is scrolled, or nobody could read it."""

_NAMES = re.compile(r'(\bid="|\bxlink:href="#|url\(#)')


@dataclass(frozen=True)
class Page:
    """A page of Markdown and of HTML, from one template."""

    template: str
    """Its file name. It is told with ``html`` which of the two it becomes."""
    values: Mapping[str, Any]
    pictures: Mapping[str, Callable[[], Drawing]]
    """How its plots are drawn, by their file names."""

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """Its plots."""
        return {name: draw() for name, draw in self.pictures.items()}

    @property
    def markdown(self) -> str:
        """As Markdown, with its plots in files beside it."""
        return render(self.template, **self.values, html=False)

    @property
    def html(self) -> str:
        """As HTML, with its plots inside."""
        return to_html(render(self.template, **self.values, html=True), self.drawings)


def to_html(markdown: str, drawings: Mapping[str, Drawing]) -> str:
    """Make a page of HTML of one of Markdown, light or dark as its reader's system is.

    Args:
        markdown: The page; its first heading is its title too.
        drawings: Its pictures by their names.
    """
    parser = MarkdownIt("commonmark", renderer_cls=_Renderer).enable("table").disable("html_block")
    tokens = parser.parse(visible(markdown))
    titles = (tokens[i + 1] for i, token in enumerate(tokens) if token.type == "heading_open")
    title = next(map(_text, titles), "")
    images = {parser.normalizeLink(name): each for name, each in drawings.items()}
    svgs = {name: embedded(name, each.svg) for name, each in images.items()}
    body = parser.renderer.render(list(_laid_out(tokens)), parser.options, svgs)
    return _frame().substitute(title=escapeHtml(title), body=body)


def embedded(name: str, svg: str) -> str:
    """Make a plot a part of a page: as wide as there is room, in the colors of its theme.

    Args:
        name: File name of the plot. It keeps the names inside apart from those of other plots.
        svg: The plot as matplotlib writes it.
    """
    prefix = re.sub(r"\W+", "-", name.rsplit(".", 1)[0])
    svg = _PROLOGUE.sub("", visible(svg))
    head, _, rest = svg.partition(">")
    wide = _PIXELS_A_POINT * float(re.search(r'viewBox="0 0 ([\d.]+)', head)[1])  # type: ignore[index]
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    head += f' style="max-width: {wide:.0f}px; min-width: {_NARROWEST * wide:.0f}px"'
    svg = _NAMES.sub(rf"\g<1>{prefix}-", f'{head} aria-hidden="true">{rest}')
    for color, variable in _THEMED.items():
        svg = re.sub(re.escape(color), variable, svg, flags=re.IGNORECASE)
    return svg


@cache
def _frame() -> Template:
    return Template((files(__package__) / "templates" / "page.html").read_text(encoding="utf-8"))


def _text(token: Token) -> str:
    """The text of a line or of a picture's caption."""
    return "".join(child.content for child in token.children or ())


def _laid_out(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with pictures, warnings and verdicts marked, without headers that are empty."""
    kept: list[Token] = []
    header: list[str] = []
    column = begin = 0
    for i, token in enumerate(tokens):
        if token.type == "thead_open":
            header, begin = [], len(kept)
        elif token.type == "tr_open":
            column = 0
        elif token.type == "blockquote_open":
            tokens[i + 1].attrSet("class", "warned")
        elif token.type == "inline":
            children = token.children or []
            if tokens[i - 1].type == "th_open":
                header.append(token.content)
            elif tokens[i - 1].type == "td_open":
                if not header[column] and token.content in _VERDICTS:
                    children[0].type = "verdict"
                column += 1
            elif [child.type for child in children] == ["image"]:
                kept[-1] = children[0]
                continue
        elif token.type == "paragraph_close" and kept[-1].type == "image":
            continue
        kept.append(token)
        if token.type == "thead_close" and not any(header):
            del kept[begin:]
    return kept


class _Renderer(RendererHTML):
    """What stands in a page for each token that has not the usual form."""

    def image(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        alt, svg = escapeHtml(_text(tokens[i])), env[tokens[i].attrs["src"]]
        window = f'<div class="scroll" tabindex="0" role="img" aria-label="{alt}">{svg}</div>'
        return f"<figure>\n{window}\n<figcaption>{alt}</figcaption>\n</figure>\n"

    def fence(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        text = escapeHtml(tokens[i].content)
        if tokens[i].info != TILES:
            return f'<pre class="{escapeHtml(tokens[i].info)}" tabindex="0">{text[:-1]}</pre>\n'
        boxes = []
        for line in text.splitlines():
            label, value, note = line.split("\t")
            note = note and f'<dd class="note">{note}</dd>'
            boxes.append(f"<div><dt>{label}</dt><dd>{value}</dd>{note}</div>\n")
        return f'<dl class="numbers">\n{"".join(boxes)}</dl>\n'

    def html_inline(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        # The end of a line is ours. Any other HTML is text.
        content = tokens[i].content
        return content if content == "<br>" else escapeHtml(content)

    def verdict(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        word = tokens[i].content
        return f'<span class="verdict {word}">{_VERDICTS[word]} {word}</span>'

    def blockquote_open(self, *_: Any) -> str:
        return ""  # the paragraph within is marked

    blockquote_close = blockquote_open

    def table_open(self, *_: Any) -> str:
        return '<div class="scroll" tabindex="0">\n<table>\n'

    def table_close(self, *_: Any) -> str:
        return "</table>\n</div>\n"

    def th_open(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        return '<th class="number">' if _is_number(tokens[i]) else "<th>"

    def td_open(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        return '<td class="number">' if _is_number(tokens[i]) else "<td><div>"

    def td_close(self, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
        return "</td>\n" if _is_number(tokens[i - 2]) else "</div></td>\n"


def _is_number(cell: Token) -> bool:
    return "right" in str(cell.attrGet("style"))

"""A page as one file of HTML that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ultraedit.core.symbols import visible
from ultraedit.report.blocks import Block, Heading, pieces
from ultraedit.report.figures import INK, MUTED, RULE, Drawing

if TYPE_CHECKING:
    from jinja2 import Template

_THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", "#000000": "var(--ink)"}
"""Colours of a plot that depend on the theme of the page; the others stand out on both."""

_PROLOGUE = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", flags=re.DOTALL)
_PIXELS_A_POINT = 1.48
"""Nine inches are 960 pixels where there is room: letters nearly as large as those of the text."""

_NARROWEST = 0.6
"""Part of it to which a plot shrinks; beyond that it is scrolled, or nobody could read it."""

_NAMES = re.compile(r'(\bid="|\bxlink:href="#|url\(#)')


def to_html(blocks: Iterable[Block], drawings: Mapping[str, Drawing]) -> str:
    """Write blocks as a page of HTML, light or dark as its reader's system is.

    Args:
        blocks: The page; the first heading is its title too.
        drawings: Its pictures by their names.
    """
    blocks = list(blocks)
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    images = {name: embedded(name, drawing.svg) for name, drawing in drawings.items()}
    return _template().render(title=title, blocks=blocks, images=images)


def embedded(name: str, svg: str) -> str:
    """Make a plot a part of a page: as wide as there is room, in the colours of its theme.

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
    for colour, variable in _THEMED.items():
        svg = re.sub(re.escape(colour), variable, svg, flags=re.IGNORECASE)
    return svg


def _shown(value: Any) -> Any:
    """A text of the page before it is escaped; what is HTML already, or no text, as it is."""
    return visible(value) if type(value) is str else value


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ultraedit.report", "."),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pieces"] = pieces
    environment.filters["visible"] = visible
    return environment.get_template("page.html")

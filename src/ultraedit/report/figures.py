"""What all plots share: the style, the colors, and the way to a file without global state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from typing import Any, NamedTuple

from ultraedit.core.symbols import visible

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""Okabe and Ito's palette without its yellow, which is too light for a line on white. All kinds
of color-blind readers can tell these apart."""

BEFORE, AFTER = "#B0B7BF", COLORS[0]
"""Light against dark, so that they also differ in gray."""

FEW_TURNS = 20
"""Up to so many turns each has a bar or a mark of its own; more of them make a line."""

INK, MUTED, RULE = "#222222", "#555555", "#DDDDDD"
"""Letters, axes and grid. A page of HTML puts those of its reader's theme in their place."""

_STYLE = {
    "font.family": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in the name of a probe is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "ultraedit",  # the same figure, the same names of its parts
}


class Drawing(NamedTuple):
    """A plot in two forms."""

    png: bytes
    """On white, 150 pixels an inch."""

    svg: str
    """Without a background, its letters as text; see `html` for its colors."""


def sketch(width: float, height: float, paint: Callable[[Any], None]) -> Drawing:
    """Draw a figure in both forms, laid out once.

    Args:
        width: In inches.
        height: In inches.
        paint: Told to fill the empty figure.
    """
    image, text = BytesIO(), StringIO()
    with _figure(width, height, paint) as figure:
        figure.savefig(image, format="png", facecolor="white", metadata={"Software": None})
        figure.set_layout_engine("none")
        for panel in figure.axes:
            panel.patch.set_visible(False)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", facecolor="none", metadata=nothing)
    return Drawing(image.getvalue(), text.getvalue())


def draw(width: float, height: float, paint: Callable[[Any], None]) -> bytes:
    """Draw a figure as a PNG alone, on white, 150 pixels an inch; see `sketch`."""
    image = BytesIO()
    with _figure(width, height, paint) as figure:
        figure.savefig(image, format="png", facecolor="white", metadata={"Software": None})
    return image.getvalue()


@contextmanager
def _figure(width: float, height: float, paint: Callable[[Any], None]) -> Iterator[Any]:
    """A figure in our style, while that style holds."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.text import Text

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Names may be in any script; a box in place of a letter is no reason to alarm the user.
        warnings.filterwarnings("ignore", message="Glyph")
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(width, height), dpi=150, layout=layout)
        FigureCanvasAgg(figure)
        paint(figure)
        for text in figure.findobj(Text):
            if (shown := visible(text.get_text())) != text.get_text():
                text.set_text(shown)
        yield figure


def mark_turns(panel: Any, turns: Sequence[int]) -> None:
    """Label the axis of the turns: each of a few, round numbers of many."""
    from matplotlib.ticker import MaxNLocator

    panel.set_xlabel("turn")
    if len(turns) <= FEW_TURNS // 2:
        panel.set_xticks(turns)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))


def shorten(name: str, longest: int = 28) -> str:
    """Cut a name to what an axis has room for, and show what is no letter as a symbol."""
    name = visible(name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"

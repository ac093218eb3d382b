"""The plot of how far each edited weight has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ultraedit.report.figures import COLOURS, FEW_TURNS, Drawing, mark_turns, shorten, sketch
from ultraedit.report.formats import format_number
from ultraedit.report.module_names import kind_of, short_names
from ultraedit.report.reading import History

LONGEST_LEGEND = 24
"""Up to so many modules each has its line in the legend; of more of them, one of each kind."""

_DASHES = ("-", "--", ":", "-.")

_TITLE = "Weight change, ‖ΔW‖ / ‖W‖ in %"


class _Look(NamedTuple):
    """How one module is drawn."""

    name: str
    colour: Any
    dash: str


def draw_norms(history: History) -> Drawing:
    """Draw the norms over the turns, or as bars after a single turn.

    A few modules have a colour each. More of them share a scale from light to dark in the order
    of their layers, and each kind of module has its own dashes.
    """
    looks = dict(zip(history.norms, _looks(list(history.norms)), strict=True))
    norms = {path: [100 * norm for norm in values] for path, values in history.norms.items()}
    if len(history.turns) == 1:
        height = 1.0 + 0.25 * max(2, len(norms))
        return sketch(7.0, height, lambda figure: _bars(figure, norms, looks))
    height = max(3.6, 1.0 + 0.19 * min(len(norms), LONGEST_LEGEND))
    return sketch(9.0, height, lambda figure: _lines(figure, history.turns, norms, looks))


def _looks(paths: Sequence[str]) -> list[_Look]:
    """Colours, dashes and short names of the modules."""
    import matplotlib

    names = [shorten(name) for name in short_names(paths)]
    if len(paths) <= len(COLOURS):
        return [_Look(name, COLOURS[i], "-") for i, name in enumerate(names)]
    by_kind: dict[str, list[str]] = {}
    for path in paths:
        by_kind.setdefault(kind_of(path), []).append(path)
    kinds = list(by_kind)
    scale = matplotlib.colormaps["viridis_r"]
    looks = []
    for path, name in zip(paths, names, strict=True):
        kin = by_kind[kind_of(path)]
        # The scale's first eighth is too light for a line on white, its last third too dark for
        # one on black.
        depth = 0.12 + 0.54 * kin.index(path) / max(1, len(kin) - 1)
        dash = _DASHES[kinds.index(kind_of(path)) % len(_DASHES)]
        looks.append(_Look(name, scale(depth), dash))
    return looks


def _lines(
    figure: Any,
    turns: Sequence[int],
    norms: Mapping[str, Sequence[float]],
    looks: Mapping[str, _Look],
) -> None:
    panel = figure.subplots()
    marker = "o" if len(turns) <= FEW_TURNS else ""
    lines = {
        path: panel.plot(
            turns[-len(values) :],
            values,
            color=looks[path].colour,
            linestyle=looks[path].dash,
            linewidth=1.4,
            marker=marker,
            markersize=3.5,
        )[0]
        for path, values in norms.items()
    }
    mark_turns(panel, turns)
    panel.set_title(_TITLE)
    panel.set_ylim(bottom=0)
    named = _in_legend(norms, looks)
    if named:
        handles = [lines[path] for path in named]
        figure.legend(handles, named.values(), loc="outside right upper", fontsize=8)


def _in_legend(norms: Mapping[str, Sequence[float]], looks: Mapping[str, _Look]) -> dict[str, str]:
    """The modules that the legend shows, by path, in the order in which their lines end."""
    if len(norms) <= LONGEST_LEGEND:
        ordered = sorted(norms, key=lambda path: norms[path][-1], reverse=True)
        return {path: looks[path].name for path in ordered}
    kinds = [kind_of(path) for path in norms]
    return {
        path: f"{kind_of(path)} (one of {kinds.count(kind_of(path))},\ndarker is deeper)"
        for path in dict(zip(kinds, norms, strict=True)).values()
    }


def _bars(figure: Any, norms: Mapping[str, Sequence[float]], looks: Mapping[str, _Look]) -> None:
    panel = figure.subplots()
    values = [norms[path][-1] for path in norms]
    bars = panel.barh(range(len(values)), values, 0.6, color=COLOURS[0])
    panel.bar_label(bars, [format_number(value) for value in values], padding=3, fontsize=8)
    panel.set_yticks(range(len(values)), [looks[path].name for path in norms])
    panel.set_ylim(len(values) - 0.4, -0.6)
    panel.grid(visible=False)
    panel.margins(x=0.1)
    panel.set_title(_TITLE)

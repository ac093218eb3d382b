"""The figures whose lines go over the number of edits, and the one of efficacy against time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ultraedit.report.figures import COLOURS, MUTED, draw
from ultraedit.tools.reproduce.bench import Bench
from ultraedit.tools.reproduce.book import Book, Point, Value, mean_of
from ultraedit.tools.reproduce.names import Wanted, label, row_label
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered, means_of, notes
from ultraedit.tools.reproduce.sheet import Cell, Rows, Sheet, cell
from ultraedit.tools.reproduce.steps import Step

_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")


class Line(NamedTuple):
    """A line of a panel."""

    wanted: Wanted
    name: str
    points: list[Point]
    printed: float | None
    """What the paper prints for its end."""


@dataclass(frozen=True)
class Panel:
    """Lines over the number of edits."""

    name: str
    """As the published file has it."""
    title: str
    dataset: str
    models: tuple[str, ...]
    methods: tuple[str, ...]
    metric: str
    """A score, or ``memory``."""

    def wanted(self) -> Iterator[Wanted]:
        """The runs behind it."""
        for model in self.models:
            yield from (Wanted(model, method, self.dataset) for method in self.methods)


@dataclass(frozen=True)
class Curves:
    """A figure of several panels."""

    id: str
    title: str
    panels: tuple[Panel, ...]
    scatter: bool = False
    """Whether a first panel shows efficacy against editing time, as Figure 1 (a)."""

    def wanted(self) -> Iterator[Wanted]:
        """The runs behind the figure, each once."""
        yield from dict.fromkeys(each for panel in self.panels for each in panel.wanted())

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """What has to be done, as far as it was chosen and can be done here."""
        return bench.runs(self.wanted(), chosen)

    def render(self, book: Book) -> Rendered:
        """The figure and the numbers of its lines."""
        lines = [(panel, self._lines(book, panel)) for panel in self.panels]
        dots = self._dots(book) if self.scatter else []
        columns = ("edits", "seconds per edit", "value") if self.scatter else ("edits", "value")
        blocks = [("Efficacy and editing time", _dot_rows(dots))] if self.scatter else []
        blocks += [(panel.title, _line_rows(found, len(columns))) for panel, found in lines]
        paper = published(self.id)
        sheet = Sheet(
            self.id,
            self.title,
            "Method",
            (("", columns),),
            tuple(blocks),
            paper.source,
            (*paper.notes, *self._means(book), *_crosses(lines), *notes(book, list(self.wanted()))),
        )
        return Rendered(sheet, _picture(dots if self.scatter else None, lines))

    def _lines(self, book: Book, panel: Panel) -> list[Line]:
        found = []
        for wanted in panel.wanted():
            if panel.metric == "memory":
                points = book.memory(wanted)
            else:
                points = book.curve(wanted, panel.metric)
            printed = published(self.id).value(
                panel=panel.name,
                method=wanted.method,
                model=wanted.model,
                metric=panel.metric,
            )
            untrained = book.bench.untrained(wanted.method)
            name = row_label(wanted.method, untrained=untrained)
            if len(panel.models) > 1:
                name = f"{name}, {label(wanted.model)}"
            found.append(Line(wanted, name, points, None if untrained else printed))
        return found

    def _means(self, book: Book) -> Iterator[str]:
        if self.scatter:
            yield from means_of(book.bench, self.panels[0].models)

    def _dots(self, book: Book) -> list[tuple[str, Cell, Cell]]:
        """Of each method its name, its seconds per edit and its efficacy, means over models."""
        panel = self.panels[0]
        models = book.bench.different(panel.models).values()
        found = []
        for method in panel.methods:
            seconds: list[Value | None] = []
            efficacy: list[Value | None] = []
            for model in models:
                wanted = Wanted(model, method, panel.dataset)
                run = book.run(wanted)
                efficacy.append(book.score(wanted, "efficacy"))
                if run is None:
                    seconds.append(None)
                else:
                    share = 1 / book.edits(run)
                    seconds.append(book.number(run.place, "summary.json", "edit_seconds", share))
            printed = published(self.id).value(panel="efficacy-time", method=method)
            untrained = book.bench.untrained(method)
            shown = cell(mean_of(efficacy), None if untrained else printed)
            found.append((row_label(method, untrained=untrained), cell(mean_of(seconds)), shown))
        return found


def _dot_rows(dots: Sequence[tuple[str, Cell, Cell]]) -> Rows:
    return tuple((name, (Cell(None), seconds, efficacy)) for name, seconds, efficacy in dots)


def _line_rows(lines: Sequence[Line], width: int) -> Rows:
    """A row for each point; what the paper prints stands at the last."""
    rows = []
    empty = (Cell(None),) * (width - 2)
    for line in lines:
        if not line.points:
            rows.append((line.name, (Cell(None), *empty, Cell(None, line.printed))))
        for number, point in enumerate(line.points, 1):
            printed = line.printed if number == len(line.points) else None
            edits = Cell(point.at, None, (point.made,))
            rows.append((line.name, (edits, *empty, cell(point.value, printed))))
    return tuple(rows)


def _crosses(lines: Sequence[tuple[Panel, list[Line]]]) -> Iterator[str]:
    """What the crosses are, if there are any."""
    if any(line.points and line.printed is not None for _, found in lines for line in found):
        yield (
            "A cross is the paper's number, after all edits of its own run; it stands at the end "
            "of ours."
        )


def _picture(
    dots: Sequence[tuple[str, Cell, Cell]] | None, lines: Sequence[tuple[Panel, list[Line]]]
) -> bytes:
    count = len(lines) + (dots is not None)
    columns = min(count, 2)
    height = -(-count // columns)

    def paint(figure: Any) -> None:
        axes = list(figure.subplots(height, columns, squeeze=False).flat)
        for spare in axes[count:]:
            spare.set_visible(False)
        if dots is not None:
            _scatter(axes.pop(0), dots)
        for (panel, found), place in zip(lines, axes, strict=False):
            _lines_over_edits(place, panel, found)

    return draw(6.5 * columns, 3.8 * height, paint)


def _scatter(place: Any, dots: Sequence[tuple[str, Cell, Cell]]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for number, (name, seconds, efficacy) in enumerate(dots):
        if isinstance(seconds.ours, float) and isinstance(efficacy.ours, float):
            place.scatter(
                [seconds.ours],
                [efficacy.ours],
                color=COLOURS[number % len(COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                label=name,
            )
    place.set_title("(a) Efficacy and editing time")
    place.set_xscale("log")
    place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    place.xaxis.set_minor_formatter(NullFormatter())
    place.set_xlabel("seconds per edit")
    place.set_ylabel("efficacy, %")
    place.set_ylim(0, 105)
    if place.get_legend_handles_labels()[0]:
        # Outside: among the points its marks would be read as points.
        place.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _lines_over_edits(place: Any, panel: Panel, lines: Sequence[Line]) -> None:
    """A colour for each method, a dash for each model, a cross for what the paper prints.

    Methods that get a colour for the second time are dashed and have squares: a panel of so many
    has one model.
    """
    from matplotlib.ticker import MaxNLocator

    few, crossed = 20, False
    for line in lines:
        again, shade = divmod(panel.methods.index(line.wanted.method), len(COLOURS))
        dash = _DASHES[(panel.models.index(line.wanted.model) + again) % len(_DASHES)]
        colour = COLOURS[shade]
        if not line.points:
            continue
        at, values = [p.at for p in line.points], [p.value.number for p in line.points]
        marker = _MARKERS[again] if len(at) <= few else ""
        place.plot(
            at, values, color=colour, linestyle=dash, marker=marker, markersize=3, label=line.name
        )
        if line.printed is not None:
            cross = "x" if not again else "+"
            place.plot(at[-1:], [line.printed], color=colour, marker=cross, linestyle="")
            crossed = True
    if crossed:
        place.plot([], [], color=MUTED, marker="x", linestyle="", label="the paper's last")
    place.set_title(panel.title)
    if not place.get_lines():
        place.text(0.5, 0.5, "nothing to draw; the page says why", ha="center", color=MUTED)
        place.set_axis_off()
        return
    place.set_xlabel("edits")
    place.set_ylabel("GiB" if panel.metric == "memory" else "%")
    most = max((p.value.number for line in lines for p in line.points), default=1.0)
    place.set_ylim(0, 1.15 * most if panel.metric == "memory" else 105)
    place.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))
    if place.get_legend_handles_labels()[0]:
        place.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)

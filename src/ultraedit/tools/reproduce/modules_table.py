"""Table 6: the modules that are edited, those of the presets beside the paper's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ultraedit.models import load_preset, split_patterns
from ultraedit.models.patterns import parse_pattern
from ultraedit.tools.reproduce.bench import Bench
from ultraedit.tools.reproduce.book import Book, Source
from ultraedit.tools.reproduce.names import PRESETS, Wanted, label
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.rendering import Rendered
from ultraedit.tools.reproduce.sheet import Cell, Rows, Sheet
from ultraedit.tools.reproduce.steps import Step


@dataclass(frozen=True)
class ModulesTable:
    """The presets of the paper's models beside its table. Nothing is run."""

    id: str
    title: str

    def wanted(self) -> Iterator[Wanted]:
        """No run is."""
        return iter(())

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """There is nothing to do."""
        return iter(())

    def render(self, book: Book) -> Rendered:
        """The table, at any scale the same."""
        paper = published(self.id)
        blocks: dict[str, list[tuple[str, tuple[Cell, ...]]]] = {}
        for row in paper.rows:
            ours = _ours(row["model"], row["dataset"], row["modules"])
            blocks.setdefault(label(row["dataset"]), []).append((label(row["model"]), ours))
        sheet = Sheet(
            self.id,
            self.title,
            "Model",
            (("", ("Editable modules", "Same")),),
            tuple((name, _rows(rows)) for name, rows in blocks.items()),
            paper.source,
            ("Ours are the presets of the package; `ultraedit models show` lists a model's.",),
        )
        return Rendered(sheet)


def _rows(rows: list[tuple[str, tuple[Cell, ...]]]) -> Rows:
    return tuple(rows)


def _ours(model: str, dataset: str, theirs: str) -> tuple[Cell, Cell]:
    name = f"{PRESETS[model]}/{dataset}"
    patterns = load_preset(name).modules
    source = Source(f"preset {name}", f"models/presets/{PRESETS[model]}.toml", "modules")
    same = _layers(patterns) == _layers(tuple(split_patterns(theirs)))
    return (
        Cell(", ".join(patterns), theirs, (source,)),
        Cell("✓" if same else "✗", None, (source,)),
    )


def _layers(patterns: tuple[str, ...]) -> frozenset[tuple[int, str]]:
    """The number of the layer and the path below it of every module that patterns name."""
    found = set()
    for pattern in patterns:
        parts = parse_pattern(pattern)
        place = next(index for index, part in enumerate(parts) if part.numbers)
        below = ".".join(part.text for part in parts[place + 1 :])
        found |= {(number, below) for number in parts[place].numbers}
    return frozenset(found)

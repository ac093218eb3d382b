"""The table of export formats. A new one is a module of this package and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ultraedit.core.types import Observer
    from ultraedit.models.delta import Delta


class Table(NamedTuple):
    """A table that is printed for the user."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    right: Sequence[str] = ()
    """Columns that are aligned to the right."""


@dataclass(frozen=True)
class Exported:
    """What an export gives back."""

    delta: Delta
    """The change that was exported, and what it was made on."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """More that ``--json`` prints."""

    tables: Sequence[Table] = ()
    """What is printed above the result."""

    pairs: Mapping[str, Any] = field(default_factory=dict)
    """Names and values that are printed with the result."""

    commands: Sequence[str] = ()
    """What to type next."""


Exporter = Callable[[Path, Path, Mapping[str, Any], "Observer"], Exported]
"""Takes the run folder, the path to write, the options that were given, and an observer."""


@dataclass(frozen=True)
class Format:
    """A form in which edits leave their run."""

    name: str

    summary: str
    """What it is, in a few words."""

    module: str
    """Module whose function ``export`` is an `Exporter`. Imported when it is needed: most import
    torch, which the help pages do without."""

    options: tuple[str, ...] = ()
    """Options of the command line that it takes beside ``--out``."""

    def load(self) -> Exporter:
        """The function that writes it."""
        export: Exporter = import_module(self.module).export
        return export


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("model", "a whole model folder", "ultraedit.export.model"),
        Format("delta", "the change of the weights alone, as one file", "ultraedit.export.delta"),
        Format(
            "lora",
            "a PEFT adapter, or one of llama.cpp",
            "ultraedit.export.lora",
            ("rank", "energy", "score", "all_layers", "format", "base"),
        ),
        Format(
            "gguf",
            "one file for llama.cpp, Ollama and LM Studio",
            "ultraedit.export.gguf",
            ("type", "base", "yes", "score"),
        ),
        Format("wise", "a model with the memories of WISE", "ultraedit.export.overlays"),
        Format("in-context", "a model with the facts it reads", "ultraedit.export.overlays"),
    )
}
"""The formats by name."""

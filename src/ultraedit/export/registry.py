"""The export formats, as a table. A new one is a module of this package and a row here.

``export`` and ``push`` choose from this table, ``inspect`` and ``diff`` ask its rows what a file
is. Rows name functions as ``module:function``: most import torch, which help pages do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ultraedit.core.errors import DataError, UltraEditError
from ultraedit.editors.registry import EDITORS

if TYPE_CHECKING:
    from ultraedit.core.types import Observer
    from ultraedit.models.delta import Delta
    from ultraedit.runs.store import Journal


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


class Check(NamedTuple):
    """Something that was compared with a run."""

    name: str
    ok: bool
    said: str


Comparison = Callable[["Journal", "Delta"], Iterator[Check]]


class Contents(NamedTuple):
    """What an exported file says of itself."""

    kind: str
    """What it is, such as ``GGUF model``."""

    about: Mapping[str, str]
    """Where it comes from; empty in a file that was not made by this package."""

    holds: Mapping[str, str]
    """What is in it, in words."""

    compare: Comparison
    """Compares it with a run and the run's change."""


Exporter = Callable[[Path, Path, Mapping[str, Any], "Observer"], Exported]
"""Takes the run folder, the path to write, the options that were given, and an observer."""

Inspector = Callable[[Path, "Path | None"], "Contents | None"]
"""Takes a path and the GGUF file of the base model, if one is given. None if the path is no file of
this format."""

ChangeReader = Callable[[Path], "Delta | None"]
"""Takes a path. None if it is no file of this format."""

CardWriter = Callable[[Path, Path, Exported], None]
"""Takes the run folder, the file that was written, and what the exporter gave back."""


@dataclass(frozen=True)
class Format:
    """A form in which edits leave their run."""

    name: str

    summary: str
    """What it is, in a few words."""

    module: str
    """Module whose function ``export`` is an `Exporter`."""

    options: tuple[str, ...] = ()
    """Options of the command line that it takes beside ``--out``."""

    suffix: str = ""
    """End of the name of a format that is one file; empty for a folder."""

    is_pushed: bool = False
    """Whether ``push`` sends it."""

    card: str = ""
    """The `CardWriter` of a format that is one file, for ``push``. Folders have cards already."""

    inspector: str = ""
    """The `Inspector` of its files; empty where ``inspect`` does not know them."""

    reader: str = ""
    """The `ChangeReader` of its files; empty where they hold no change that ``diff`` compares."""

    def load(self) -> Exporter:
        """The function that writes it."""
        export: Exporter = import_module(self.module).export
        return export


def find(target: str) -> Any:
    """The function that a row names as ``module:function``."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


_OVERLAYS = "ultraedit.export.overlays"

_BESIDE = {
    "memories": "a model with the memories of {title}",
    "facts": "a model with the facts it reads, of {title}",
}
"""What is exported of editors that leave the weights alone, by `EditorRow.beside`."""

FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("model", "a whole model folder", "ultraedit.export.model", is_pushed=True),
        Format(
            "delta",
            "the change of the weights alone, as one file",
            "ultraedit.export.delta",
            ("shard_size",),
            suffix=".safetensors",
            is_pushed=True,
            card="ultraedit.export.delta:write_card",
            inspector="ultraedit.export.inspection:inspect_delta",
            reader="ultraedit.export.difference:change_of_delta",
        ),
        Format(
            "lora",
            "a PEFT adapter, or one of llama.cpp",
            "ultraedit.export.lora",
            ("rank", "energy", "score", "all_layers", "format", "base"),
            is_pushed=True,
            inspector="ultraedit.export.inspection:inspect_adapter",
            reader="ultraedit.export.difference:change_of_adapter",
        ),
        Format(
            "gguf",
            "one file for llama.cpp, Ollama and LM Studio",
            "ultraedit.export.gguf",
            ("type", "base", "yes", "score"),
            suffix=".gguf",
            is_pushed=True,
            card="ultraedit.export.gguf:write_card",
            inspector="ultraedit.export.inspection:inspect_gguf",
        ),
        *(
            Format(row.name, _BESIDE[row.beside].format(title=row.title), _OVERLAYS)
            for row in EDITORS.values()
            if row.has_overlay and row.beside is not None
        ),
    )
}
"""The formats by name. Where a file is looked at, the last row is asked first: that of the deltas
takes any safetensors file."""

PUSHED: tuple[str, ...] = tuple(each.name for each in FORMATS.values() if each.is_pushed)
"""Names of those that ``push`` sends."""


def recognized(path: Path, ask: Callable[[Format], str], *arguments: Any) -> Any:
    """What the first format that knows a file makes of it; None if none does.

    Args:
        path: The file or folder.
        ask: Which function of a row to ask, `Format.inspector` or `Format.reader`.
        arguments: Further arguments of that function.

    Raises:
        UltraEditError: If a format knows the file and cannot read it, or its function fails.
    """
    for each in reversed(list(FORMATS.values())):
        target = ask(each)
        if not target:
            continue
        try:
            answer = find(target)(path, *arguments)
        except (UltraEditError, OSError):
            raise
        except Exception as error:
            raise DataError(
                f"The format {each.name} cannot read {path}: {type(error).__name__}: {error}. "
                f"If the file is of another format, {target} should return None."
            ) from error
        if answer is not None:
            return answer
    return None

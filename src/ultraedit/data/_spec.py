"""``FORMAT:PATH``, the way to name a file of edits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from ultraedit.core.errors import ConfigError
from ultraedit.data._columns import Columns, check_columns
from ultraedit.data._detect import detect
from ultraedit.data._registry import FORMATS, find_format, list_formats

# Two letters at least, so that the drive of C:\facts.jsonl is none; no dot and no slash, so
# that the folder of ./a:b/facts.jsonl is none.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")

# Columns that the user named stand behind the format, so that a spec is one text everywhere.
_WITH_COLUMNS = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]+)\[(?P<columns>[^\]]*)\]:(?P<path>.*)")

_OTHERS = {
    ".xls": "Save it as .xlsx or as CSV UTF-8.",
    ".ods": "Save it as .xlsx or as CSV UTF-8.",
    ".numbers": "Export it as .xlsx or as CSV.",
    ".doc": "Save its facts as a table in a .csv file, with the columns prompt and target.",
    ".docx": "Save its facts as a table in a .csv file, with the columns prompt and target.",
}
"""What to do with files that people have and that are not read."""


class DataSpec(NamedTuple):
    """A file of edits and how to read it."""

    format: str
    """Name of a format, a key of `FORMATS`."""

    path: Path
    """The file, plain or gzip."""

    columns: Columns = ()
    """Columns of a table that the user named; the others are found by their names."""

    def __str__(self) -> str:
        """Write it as the user would."""
        pairs = ",".join(f"{part}={quote(name, safe=' ')}" for part, name in self.columns)
        return f"{self.format}[{pairs}]:{self.path}" if pairs else f"{self.format}:{self.path}"

    def with_columns(self, columns: Columns) -> DataSpec:
        """The same file with columns named."""
        return self._replace(columns=columns)


def parse_spec(text: str) -> DataSpec:
    r"""Read ``FORMAT:PATH``, or a bare path whose end or first row says its format.

    Only the first colon counts, and only behind something that could be a format's name, so
    paths with colons need no care: ``zsre:C:\data\zsre.json``, ``C:\facts.jsonl``.

    Args:
        text: What the user typed.

    Raises:
        ConfigError: If the format is unknown or missing, or the path is missing.
    """
    if (match := _WITH_COLUMNS.fullmatch(text)) is not None and not os.path.exists(text):
        spec = parse_spec(f"{match['name']}:{match['path']}")
        pairs = [piece.partition("=")[::2] for piece in match["columns"].split(",")]
        return spec.with_columns(check_columns([(part, unquote(name)) for part, name in pairs]))
    name, colon, rest = text.partition(":")
    if name in FORMATS and colon:
        return DataSpec(name, _path(rest, name))
    if colon and _NAME.fullmatch(name) and not os.path.exists(text):
        return DataSpec(find_format(name).name, _path(rest, name))
    path = _path(text, "jsonl")
    format = _by_name(path)
    if format in ("jsonl", "json"):
        format = _by_first_row(path, format)
    if format is None and path.is_dir():
        format = "hf"
    if format is not None:
        return DataSpec(format, path)
    suffix = path.suffix.lower()
    if suffix in _OTHERS:
        raise ConfigError(f"{text} is a {suffix} file, which is not read. {_OTHERS[suffix]}")
    suffixes = ", ".join(suffix for row in list_formats() for suffix in row.suffixes)
    raise ConfigError(
        f"{text!r} does not say its format. Write FORMAT:PATH, such as zsre:{text}, with one of "
        f"{', '.join(FORMATS)}. Files that end in {suffixes} need none."
    )


def _by_name(path: Path) -> str | None:
    """The format that the end of a file's name says, packed or not."""
    name = path.name.lower().removesuffix(".gz")
    return next(
        (row.name for row in list_formats() if name.endswith(row.suffixes or ("\0",))), None
    )


def _by_first_row(path: Path, format: str) -> str | None:
    """The format of a JSON file. Many published layouts come under the same end of the name."""
    if not path.is_file():
        return format if format == "jsonl" else None
    return detect(path) or format


def _path(text: str, name: str) -> Path:
    if not text.strip():
        raise ConfigError(f"No file is named. Write FORMAT:PATH, such as {name}:facts.json.")
    return Path(os.path.expanduser(text))

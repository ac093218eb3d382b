"""``FORMAT:PATH``, the way to name a file of edits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ultraedit.data._registry import FORMATS, find_format
from ultraedit.errors import ConfigError

# Two letters at least, so that the drive of C:\facts.jsonl is none; no dot and no slash, so
# that the folder of ./a:b/facts.jsonl is none.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")


class DataSpec(NamedTuple):
    """A file of edits and how to read it."""

    format: str
    """Name of a format, a key of `FORMATS`."""

    path: Path
    """The file, plain or gzip."""

    def __str__(self) -> str:
        """Write it as the user would."""
        return f"{self.format}:{self.path}"


def parse_spec(text: str) -> DataSpec:
    r"""Read ``FORMAT:PATH``, or the bare path of a ``.jsonl`` file.

    Only the first colon counts, and only behind something that could be a format's name, so
    paths with colons need no care: ``zsre:C:\data\zsre.json``, ``C:\facts.jsonl``.

    Args:
        text: What the user typed.

    Raises:
        ConfigError: If the format is unknown or missing, or the path is missing.
    """
    name, colon, rest = text.partition(":")
    if name in FORMATS and colon:
        return DataSpec(name, _path(rest, name))
    if colon and _NAME.fullmatch(name) and not os.path.exists(text):
        return DataSpec(find_format(name).name, _path(rest, name))
    path = _path(text, "jsonl")
    if path.name.lower().endswith((".jsonl", ".jsonl.gz")):
        return DataSpec("jsonl", path)
    raise ConfigError(
        f"{text!r} does not say its format. Write FORMAT:PATH, such as zsre:{text}, with one of "
        f"{', '.join(FORMATS)}. Only .jsonl files need none."
    )


def _path(text: str, name: str) -> Path:
    if not text.strip():
        raise ConfigError(f"No file is named. Write FORMAT:PATH, such as {name}:facts.json.")
    return Path(os.path.expanduser(text))

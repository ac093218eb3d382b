"""Which files the triples come from, and how each of them is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.errors import DataError
from ultraedit.tools.bench_builder import tables, wikidata5m
from ultraedit.tools.bench_builder.wikidata5m import Names

_READERS: dict[str, Callable[[Path], tables.Rows]] = {
    ".tsv": tables.tab_separated,
    ".txt": tables.tab_separated,
    ".csv": tables.comma_separated,
    ".jsonl": tables.json_lines,
}
KINDS = ", ".join(_READERS)


class TripleFile(NamedTuple):
    """One file of triples."""

    path: Path

    rows: Callable[[Path], tables.Rows]
    """Reads it, row by row."""

    names: Names | None = None
    """What its ids are called, where it holds ids."""


def find_sources(paths: Sequence[Path], scratch: Path) -> list[TripleFile]:
    """Find what to read.

    Args:
        paths: Files of triples, or folders of them. A folder of Wikidata5M is known by its names.
        scratch: A folder for what has to be unpacked.

    Returns:
        The files, in the order given; those of a folder by name.

    Raises:
        DataError: If a path is missing, is no kind of file that is known, or names a file twice.
    """
    sources: list[TripleFile] = []
    for path in paths:
        path = Path(os.path.expanduser(path))
        if path.is_dir():
            sources += _folder(path, scratch)
        elif path.exists():
            sources.append(_file(path, scratch))
        else:
            raise DataError(f"No such file or folder: {path}. Check the spelling.")
    seen: set[Path] = set()
    for source in sources:
        if source.path.resolve() in seen:
            raise DataError(f"{source.path} is named twice. Name each file of triples once.")
        seen.add(source.path.resolve())
    return sources


def sha256(path: Path) -> str:
    """The digest of a file as it lies on the disk, packed or not."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _folder(folder: Path, scratch: Path) -> list[TripleFile]:
    triplets = wikidata5m.triplet_files(folder)
    if triplets:
        names = wikidata5m.read_names(wikidata5m.alias_files(folder), scratch)
        return [TripleFile(path, wikidata5m.triplets, names) for path in triplets]
    tables = sorted(path for path in folder.iterdir() if path.is_file() and _kind(path))
    if not tables:
        raise DataError(f"{folder} holds no file of triples ({KINDS}, plain or .gz). Name one.")
    return [TripleFile(path, _READERS[_kind(path)]) for path in tables]


def _file(path: Path, scratch: Path) -> TripleFile:
    if wikidata5m.is_triplet_file(path):
        names = wikidata5m.read_names(wikidata5m.alias_files(path.parent), scratch)
        return TripleFile(path, wikidata5m.triplets, names)
    kind = _kind(path)
    if not kind:
        raise DataError(
            f"{path} is not a file of triples: its name must end in one of {KINDS}, with or "
            f"without .gz. Write one triple a line: subject, relation, object."
        )
    return TripleFile(path, _READERS[kind])


def _kind(path: Path) -> str:
    """The ending that says how a file is read, or "" if it says nothing."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return ending if ending in _READERS else ""

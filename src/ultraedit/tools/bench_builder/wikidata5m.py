"""Wikidata5M as it is published: triplets of ids, and the names of entities and relations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.errors import DataError
from ultraedit.data._files import lines, opened
from ultraedit.tools.bench_builder.labels import Labels
from ultraedit.tools.bench_builder.tables import Rows
from ultraedit.tools.bench_builder.triples import Triple, Unreadable

_TRIPLETS = re.compile(r"wikidata5m_(all_triplet|(?:transductive|inductive)_\w+)\.txt(\.gz)?")
_ORDER = ("all_triplet", "transductive_", "inductive_")
"""The whole, or else one of the two ways in which it is cut; taking all would repeat triples."""


class Names(NamedTuple):
    """The two alias files of Wikidata5M."""

    entities: Labels

    relations: Labels

    def resolved(self, triple: Triple) -> Triple:
        """Put names to the ids of a triple; what has no name stays empty."""
        subject, *subject_aliases = self.entities.names(triple.subject_id) or [""]
        objects = self.entities.names(triple.object_id)
        return triple._replace(
            subject=subject,
            subject_aliases=tuple(subject_aliases),
            objects=tuple(objects[:1]),
            object_aliases=tuple(objects[1:]),
        )


def is_triplet_file(path: Path) -> bool:
    """Whether a file is called as Wikidata5M calls its triplets."""
    return _TRIPLETS.fullmatch(path.name) is not None


def triplet_files(folder: Path) -> list[Path]:
    """The triplet files of a folder that hold each triple once, by name."""
    triplet_paths = sorted(path for path in folder.iterdir() if is_triplet_file(path))
    for kind in _ORDER:
        chosen = [
            path for path in triplet_paths if path.name.removeprefix("wikidata5m_").startswith(kind)
        ]
        if chosen:
            return chosen
    return []


def alias_files(folder: Path) -> tuple[Path, Path]:
    """The files with the names of entities and relations.

    Raises:
        DataError: If one of them is missing.
    """
    paths = []
    for kind in ("entity", "relation"):
        name = f"wikidata5m_{kind}.txt"
        path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
        if path is None:
            raise DataError(
                f"{folder} has triplets of Wikidata5M but no {name}, plain or gzip. "
                f"Unpack the alias archive of Wikidata5M into that folder."
            )
        paths.append(path)
    return paths[0], paths[1]


def read_names(files: Sequence[Path], scratch: Path) -> Names:
    """Index the two alias files that `alias_files` found."""
    entities, relations = files
    return Names(Labels(entities, scratch), Labels(relations, scratch))


def triplets(path: Path) -> Rows:
    """Read lines of subject id, relation id and object id.

    Args:
        path: A plain or gzip file.

    Yields:
        Triples with ids but without names, and what was wrong where there is none.

    Raises:
        DataError: If the file cannot be read to its end.
    """
    with opened(path) as handle:
        for line in lines(handle, path):
            cells = line.data.split()
            if len(cells) == 3:
                subject, relation, object = (cell.decode("ascii", "replace") for cell in cells)
                yield Triple(line.number, "", relation, (), subject, object)
            elif cells:
                yield Unreadable(line.number, f"{len(cells)} columns, expected 3 ids")

"""Small files of triples, and a short way from them to a set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from ultraedit.tools.bench_builder import BuildSettings, TemplateQuestionWriter, build

RELATIONS = ("place of birth", "occupation", "spouse", "employer")


def people(count: int = 40) -> list[tuple[str, str, str]]:
    """Triples about invented people, no two of which share a name."""
    return [
        (f"Person {n:04d}", relation, f"{relation.split()[-1].title()}-{n:04d}")
        for n in range(count)
        for relation in RELATIONS
    ]


def tsv(rows, header=("subject", "relation", "object")) -> str:
    return "".join("\t".join(row) + "\n" for row in (header, *rows))


class Set(NamedTuple):
    """A set that was built, read back."""

    folder: Path
    rows: list[dict]
    rejected: list[dict]
    card: dict

    def reasons(self) -> dict[str, list[str]]:
        """The reasons by the subject that was rejected."""
        return {row.get("subject", ""): row["reasons"] for row in self.rejected}


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read_set(folder: Path) -> Set:
    return Set(
        folder,
        read_lines(folder / "ultraeditbench.jsonl"),
        read_lines(folder / "rejected.jsonl"),
        json.loads((folder / "card.json").read_text("utf-8")),
    )


def files_of(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def _write(name: str, text: str, *, packed: bool = False) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        return path

    return _write


@pytest.fixture
def make(tmp_path, write):
    """Build a set from rows or files and read it back."""

    def _make(triples=None, *, name="set", writer=None, **settings) -> Set:
        if not isinstance(triples, Path):
            triples = write("triples.tsv", tsv(people() if triples is None else triples))
        out = tmp_path / name
        build(
            BuildSettings(triples=(triples,), out=out, **settings),
            writer or TemplateQuestionWriter(),
        )
        return read_set(out)

    return _make

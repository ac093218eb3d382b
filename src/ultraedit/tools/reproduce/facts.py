"""Where the facts of a plan come from, and which data set stands for one that is not there."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.errors import DataError
from ultraedit.tools.reproduce.names import DATASETS

_KINDS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")

_STAND_INS = {"wikibigedit": "hallueditbench"}
"""The nearest to a data set: facts with a two-hop question each."""

_TRIPLES = "triples/entityquestions_220k.tsv.gz"
"""What a set like UltraEditBench is built of, as the paper builds its own of triples."""


class DataSetFacts(NamedTuple):
    """The facts of a data set."""

    format: str
    path: Path
    """Their file; where they are yet to be built, the triples to build them of."""
    shown: str
    """What they are, for a note."""
    to_build: bool = False


def demo_facts() -> DataSetFacts:
    """The facts that come with the package."""
    path = Path(str(files("ultraedit") / "data" / "demo_facts.jsonl"))
    return DataSetFacts("jsonl", path, "the facts of ultraedit demo")


def find_facts(dataset: str, root: Path | None, *, stand_ins: bool) -> DataSetFacts:
    """Find a data set in the data folder, by the name of its own folder there.

    Args:
        dataset: Name of one of the paper's data sets.
        root: The data folder.
        stand_ins: Whether another may stand for it.

    Raises:
        DataError: If there is no data folder, or it has neither.
    """
    if root is None:
        raise DataError(
            "The facts of this plan are in no data folder. Name it with --data-root, or set "
            "ULTRAEDIT_DATA; `--scale smoke` needs none."
        )
    path = largest(root / dataset)
    if path is not None:
        return DataSetFacts(dataset, path, path.name)
    if stand_ins and dataset in _STAND_INS:
        other = _STAND_INS[dataset]
        path = largest(root / other)
        if path is not None:
            return DataSetFacts(other, path, path.name)
    if stand_ins and dataset == "ultraeditbench" and (root / _TRIPLES).is_file():
        path = root / _TRIPLES
        return DataSetFacts(dataset, path, f"a set built of {path.name}", to_build=True)
    raise DataError(
        f"{DATASETS[dataset]} is missing: there is no file of facts in {root / dataset}. Put the "
        "published file there, or choose another --data-root."
    )


def largest(folder: Path) -> Path | None:
    """The largest file of facts in a folder; None if there is none."""
    paths = folder.iterdir() if folder.is_dir() else ()
    usable = [path for path in paths if path.name.lower().endswith(_KINDS)]
    return max(usable, key=lambda path: (path.stat().st_size, path.name), default=None)

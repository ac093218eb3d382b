"""Keep what a reproduction found: its tables and figures, and the records that their numbers name.

    ultraedit reproduce run all --scale small --data-root ../shared/data
    python -m benchmarks.reproduction reproduction/small       # benchmarks/results/small

Journals, weights and nets stay behind; the settings of every run come along. What was kept before
is replaced as a whole, so that no table of an earlier reproduction stands beside a later record.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    """Copy, and say how much."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("reproduction", type=Path, help="folder of `ultraedit reproduce run`")
    options = parser.parse_args()
    target = RESULTS / options.reproduction.resolve().name
    kept = keep(options.reproduction, target)
    print(f"{kept} files written to {target.relative_to(ROOT)}")


def keep(reproduction: Path, target: Path) -> int:
    """Copy the forms of every table and figure and the records behind them.

    Args:
        reproduction: Folder of a reproduction.
        target: Folder to make. What is there is replaced.

    Returns:
        The number of files.
    """
    pages = sorted(path for path in reproduction.glob("*/*.json") if path.stem == path.parent.name)
    if not pages:
        raise SystemExit(f"{reproduction} has no tables or figures; run `ultraedit reproduce run`.")
    names = {
        path.relative_to(reproduction)
        for page in pages
        for path in page.parent.iterdir()
        if path.is_file()
    }
    for page in pages:
        names.update(_records(reproduction, page))
    shutil.rmtree(target, ignore_errors=True)
    for name in sorted(names):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(reproduction / name, place)
    return len(names)


def _records(reproduction: Path, page: Path) -> Iterator[Path]:
    """The files that a table's numbers come from, and the settings of their runs."""
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for source in cell["from"]:
            for file in (source["file"], "config.json"):
                name = Path(source["run"], file)
                if (reproduction / name).is_file():
                    yield name


if __name__ == "__main__":
    main()

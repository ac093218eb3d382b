"""``hf``: data sets of the Hugging Face hub by name, or of a folder, one row after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data._rows import Row
from ultraedit.data._table import Cells, table
from ultraedit.data.formats.records import from_records


class Name(NamedTuple):
    """Which rows of which data set."""

    path: str
    config: str | None
    split: str | None


def parse_name(path: Path) -> Name:
    """Read ``ORG/NAME``, ``ORG/NAME/CONFIG`` or a folder, each with ``#SPLIT`` behind it or not.

    Args:
        path: What stands behind ``hf:``.
    """
    name, _, split = path.as_posix().partition("#")
    if Path(name).exists() or name.startswith(("/", ".")):
        return Name(name, None, split or None)
    parts = name.split("/")
    return Name("/".join(parts[:2]), "/".join(parts[2:]) or None, split or None)


def check_name(path: Path) -> None:
    """Refuse a name that is neither a folder nor one of the hub.

    Raises:
        DataError: If it is a folder that is not there, or a single file.
    """
    name = parse_name(path)
    if Path(name.path).is_file():
        raise DataError(
            f"{name.path} is a file, and hf takes a folder or a name of the hub. Leave hf: out."
        )
    if name.path.startswith(("/", ".")) and not Path(name.path).is_dir():
        raise DataError(f"No such folder: {name.path}. Check the spelling.")


def _rows(path: Path) -> Iterator[Row]:
    for number, values in enumerate(_load(path), start=1):
        yield Row(number, number, values)


def _load(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import datasets
    except ModuleNotFoundError:
        raise ConfigError(
            f"hf:{path} takes the package datasets: pip install 'ultraedit[datasets]'."
        ) from None
    name = parse_name(path)
    try:
        if (Path(name.path) / "dataset_dict.json").exists() or (
            Path(name.path) / "state.json"
        ).exists():
            loaded = datasets.load_from_disk(name.path)
            splits = list(loaded) if isinstance(loaded, datasets.DatasetDict) else []
        else:
            loaded = datasets.load_dataset(name.path, name.config, streaming=True)
            splits = list(loaded)
        if splits:
            loaded = loaded[_split(name, splits)]
        yield from loaded
    except (ConfigError, DataError):
        raise
    # The package raises errors of its own, of pyarrow, of the hub and of its connection.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"hf:{path} cannot be read: {reason}. Check its name and the connection, or download "
            "it and give its folder."
        ) from error


def _split(name: Name, splits: list[str]) -> str:
    """The split that was asked for, else the training split, else the only one."""
    if name.split is not None:
        if name.split not in splits:
            raise DataError(
                f"hf:{name.path} has no split {name.split!r}, only {', '.join(splits)}."
            )
        return name.split
    if "train" in splits or len(splits) == 1:
        return "train" if "train" in splits else splits[0]
    raise DataError(
        f"hf:{name.path} has the splits {', '.join(splits)}. Say which, such as "
        f"hf:{name.path}#{splits[0]}."
    )


def _cells(path: Path) -> Iterator[Cells]:
    return from_records(_rows(path))


LAYOUT = table(_cells, check_path=check_name)
"""One fact a row; columns that hold lists or messages are read as in JSON."""

"""``parquet``: a table of columns, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data._rows import Row
from ultraedit.data._table import Cells, table
from ultraedit.data.formats.records import from_records

_BATCH = 1000
"""Rows that are held at once."""


def _rows(path: Path) -> Iterator[Row]:
    try:
        import pyarrow.parquet as pq
        from pyarrow import ArrowException
    except ModuleNotFoundError:
        raise ConfigError(
            f"{path} takes pyarrow to read: pip install 'ultraedit[tables]', or save it as CSV."
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, number, values)
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path} cannot be read as parquet: {reason}.") from error


def _cells(path: Path) -> Iterator[Cells]:
    return from_records(_rows(path))


LAYOUT = table(_cells)
"""One fact a row; columns that hold lists or messages are read as in JSON."""

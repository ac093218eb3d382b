"""``export --as delta``: the change of the weights alone, as safetensors.

It is one file. One that would be larger than ``--shard-size`` is written as several with an index.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import refuse_existing, write_text
from ultraedit.core.types import Observer
from ultraedit.export.change import about, provenance_of, read_delta
from ultraedit.export.model_card import delta_card
from ultraedit.export.registry import Exported
from ultraedit.models.delta import SHARD_BYTES, Delta, delta_files, save_delta
from ultraedit.report.formats import format_bytes
from ultraedit.runs.store import JOURNAL, Journal

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
"""Bytes of the units of sizes, as the hub's client has them."""


def export(run: Path, out: Path, options: Mapping[str, Any], observer: Observer) -> Exported:
    """As the command line asks for it."""
    text = options.get("shard_size")
    limit = SHARD_BYTES if text is None else parse_size(text)
    delta = export_delta(run, out, observer, shard_bytes=limit)
    files = delta_files(out)
    size = sum(file.stat().st_size for file in files)
    parts = f" in {len(files) - 1} shards and an index" if len(files) > 1 else ""
    apply = ["ultraedit", "apply", delta.base, str(out), "--out", "edited"]
    return Exported(
        delta,
        facts={"bytes": size, "files": [str(file) for file in files]},
        pairs={"size": f"{format_bytes(size)}{parts}"},
        commands=[shlex.join(apply)],
    )


def export_delta(
    path: Path, out: Path, observer: Observer | None = None, *, shard_bytes: int = SHARD_BYTES
) -> Delta:
    """Write the change of a run as one safetensors file, or as several where it is large.

    Args:
        path: The run folder.
        out: The new file.
        observer: Receives progress updates.
        shard_bytes: Largest size of the changes in one file, as `save_delta` takes it.

    Raises:
        UltraEditError: If the run cannot be read, or the file not be written.
    """
    refuse_existing(out, empty_folder=False)
    delta = read_delta(path, observer)
    save_delta(delta, out, shard_bytes=shard_bytes)
    return delta


def write_card(run: Path, out: Path, exported: Exported) -> None:
    """Write the card of a delta beside it, as the hub shows it."""
    with closing(Journal.open(run / JOURNAL)) as journal:
        source = provenance_of(journal, about(journal, exported.delta.changes))
    write_text(out.with_name("README.md"), delta_card(source, out.name))


def parse_size(text: str) -> int:
    """Read a size such as ``5GB``, in bytes.

    Raises:
        ConfigError: If it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]B)", text.strip().upper())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 1:
        raise ConfigError(f"--shard-size must be a size such as 5GB or 200MB, got {text!r}.")
    return size

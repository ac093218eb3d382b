"""A sample of the passages of a corpus: a text file, JSON lines, or a data set on the hub.

The sample is made of the passages whose hashes are smallest. So it is a fair draw, the same
wherever and in whichever order the corpus lies; a larger sample contains the smaller ones, and
a passage that occurs twice is taken once.

The hub's own client, which transformers brings along, is enough for a data set on it; the package
`datasets` is not needed.
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from ultraedit.core.errors import ConfigError, DataError

KINDS = (".jsonl", ".jsonl.gz", ".txt", ".txt.gz", ".parquet")
"""Endings of the files that can be read. Any other ending is read as text."""


class Corpus(NamedTuple):
    """Passages of a corpus, in the order of their hashes."""

    name: str
    """What the user calls it, without its folders."""

    passages: tuple[str, ...]

    sha256: str
    """Hash of the passages, in hexadecimal."""

    @property
    def source(self) -> str:
        """What to call it in a record, such as ``wikipedia.jsonl.gz, 1,000 samples``."""
        return source_of(self.name, len(self.passages))


def source_of(name: str, samples: int) -> str:
    """Name a sample in a record."""
    return f"{name}, {samples:,} samples"


def read_corpus(spec: str, samples: int) -> Corpus:
    """Draw a sample of passages.

    Args:
        spec: A file whose ending is in `KINDS`, any other text file with a passage per line, such
            as WikiText, or a data set on the hub as ``ORG/NAME`` or ``ORG/NAME:FILE``.
        samples: How many passages to draw; all of them if there are fewer.

    Raises:
        ConfigError: If there is no such corpus.
        DataError: If it cannot be read, or has no passage.
    """
    path = find(spec)
    passages = tuple(draw(_passages(path), samples))
    if not passages:
        raise DataError(f"The corpus {spec} has no text. Give a file with a passage per line.")
    digest = hashlib.sha256()
    for passage in passages:
        digest.update(hashlib.sha256(passage.encode("utf-8", "surrogatepass")).digest())
    return Corpus(spec if is_hub_id(spec) else path.name, passages, digest.hexdigest())


def find(spec: str) -> Path:
    """The file of a corpus, downloaded if it is on the hub.

    Raises:
        ConfigError: If there is none.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"The corpus {spec} is a folder. Give one of the files in it.")
    if is_hub_id(spec):
        return download(spec, KINDS)
    raise ConfigError(
        f"There is no corpus {spec!r}: give a file ({', '.join(KINDS[:3])}) or a data set on the "
        "hub as ORG/NAME:FILE."
    )


def draw(passages: Iterable[str], size: int) -> list[str]:
    """The passages with the smallest hashes, in the order of these.

    Args:
        passages: All of them, read as a stream. No more than `size` are held.
        size: How many to take at most.
    """
    held: list[tuple[int, str]] = []  # a heap, the largest hash first
    ranks: set[int] = set()
    for passage in passages:
        content = passage.encode("utf-8", "surrogatepass")
        rank = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
        if rank in ranks or (len(held) == size and rank > -held[0][0]):
            continue
        if len(held) == size:
            dropped, _ = heapq.heapreplace(held, (-rank, passage))
            ranks.discard(-dropped)
        else:
            heapq.heappush(held, (-rank, passage))
        ranks.add(rank)
    return [passage for _, passage in sorted(held, reverse=True)]


def _passages(path: Path) -> Iterator[str]:
    """Every passage with a visible character, stripped."""
    kind = next((kind for kind in KINDS if path.name.endswith(kind)), ".txt")
    try:
        if kind == ".parquet":
            yield from _stripped(_parquet(path))
        else:
            with _open(path) as file:
                yield from _stripped(_json_lines(path, file) if ".jsonl" in kind else file)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"The corpus {path} cannot be read: {cause}.") from error


def _stripped(texts: Iterable[str]) -> Iterator[str]:
    return (text.strip() for text in texts if text.strip())


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _json_lines(path: Path, file: IO[str]) -> Iterator[str]:
    """The field ``text`` of every line."""
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error.msg}.") from error
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise DataError(f'{path}, line {number}: expected {{"text": "..."}}, got {line[:60]!r}')
        yield text


def _parquet(path: Path) -> Iterator[str]:
    """The column ``text``."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ConfigError(
            f"Reading {path.name} needs pyarrow: pip install pyarrow. A .jsonl file needs nothing."
        ) from None
    try:
        for batch in ParquetFile(path).iter_batches(columns=["text"]):
            yield from (text for text in batch.column(0).to_pylist() if text)
    except (ArrowException, IndexError) as error:
        raise DataError(f"{path} has no column `text` that can be read: {error}.") from error


_ID = re.compile(r"[\w.-]+/[\w.-]+(:.+)?")


def is_hub_id(spec: str) -> bool:
    """Tell whether a text could be ``ORG/NAME`` or ``ORG/NAME:FILE``, and is no path."""
    folder = spec.partition("/")[0]
    return _ID.fullmatch(spec) is not None and folder not in (".", "..") and not Path(spec).exists()


def download(spec: str, kinds: Sequence[str]) -> Path:
    """Download a file of a data set, unless it was downloaded before.

    Args:
        spec: ``ORG/NAME:FILE``; without ``:FILE`` the first file by name of a kind that can be
            read, those with ``train`` in their name before others.
        kinds: Endings of the files that can be read.

    Raises:
        ConfigError: If there is no such data set or file, or no network.
    """
    from huggingface_hub import HfApi, hf_hub_download

    name, _, file = spec.partition(":")
    try:
        if not file:
            listed = HfApi().list_repo_files(name, repo_type="dataset")
            usable = [each for each in listed if each.endswith(tuple(kinds))]
            file = min(usable, key=lambda each: ("train" not in each, each), default="")
        if file:
            return Path(hf_hub_download(name, file, repo_type="dataset"))
    except Exception as error:
        # Which error says "no network" depends on the HTTP library beneath the hub's client.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"There is no file {spec!r}, and it cannot be had from the Hugging Face Hub: {reason}"
        ) from error
    raise ConfigError(f"The data set {name} has no file of the kinds {', '.join(kinds)}.")

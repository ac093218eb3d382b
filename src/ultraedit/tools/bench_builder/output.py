"""The files of a set, written row by row and put in place when all are whole."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import explained
from ultraedit.tools.bench_builder.facts import Reject

LINES = "ultraeditbench.jsonl"
ARRAY = "ultraeditbench.json"
REJECTED = "rejected.jsonl"
CARD = "card.json"
PAGE = "README.md"
SCRATCH = ".build"
REPLIES = "replies.sqlite"
"""Of the language model; kept from build to build, so that nothing is paid for twice."""

SPLITS = {"train": 8, "validation": 1, "test": 1}
"""Tenths of the subjects. All rows of a subject are in one split."""

FIELDS = ("subject", "prompt", "rephrase_prompt", "ans", "loc", "loc_ans")

_OURS = (LINES, ARRAY, REJECTED, CARD, PAGE, "splits", SCRATCH)
_MARKS = (CARD, SCRATCH, REPLIES)


def claim_folder(out: Path) -> Path:
    """Make sure that a folder may be written to, and make a place for unfinished files in it.

    Args:
        out: New, empty, or with an earlier set, which stays until the new one is whole.

    Returns:
        An empty folder inside it.

    Raises:
        ConfigError: If it is a file, or holds anything else.
        StorageError: If it cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file, expected a folder for the set. Choose another name.")
    present = {path.name for path in out.iterdir()} if out.is_dir() else set()
    strange = sorted(n for n in present if n not in _OURS and not n.startswith(REPLIES))
    if strange or (present and not any(mark in present for mark in _MARKS)):
        raise ConfigError(
            f"{out} holds {(strange or sorted(present))[0]}, which is not of an earlier build. "
            f"Choose a new or empty folder."
        )
    scratch = out / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    with explained(scratch):
        scratch.mkdir(parents=True)
    return scratch


class Output:
    """Takes rows and rejects, counts them, and leaves the files of the set."""

    def __init__(self, scratch: Path, seed: int, sample: int) -> None:
        """Open the files.

        Args:
            scratch: Where they are while they are written.
            seed: Of the sample.
            sample: How many rows to keep for the eye.
        """
        self.kept = 0
        self.rejected = 0
        self.reasons: Counter[str] = Counter()
        self.relations: Counter[tuple[str, str]] = Counter()
        self.splits: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
        self.lengths: dict[str, Counter[int]] = {name: Counter() for name in FIELDS}
        self.sample: list[dict[str, str]] = []
        self._sample_size = sample
        self._draw = random.Random(seed)
        self._folder = scratch / "set"
        self._open = ExitStack()
        (self._folder / "splits").mkdir(parents=True)
        self._lines, self._array, self._rejects = map(self._file, (LINES, ARRAY, REJECTED))
        self._splits = {name: self._file(f"splits/{name}.jsonl") for name in SPLITS}

    def keep(self, row: dict[str, str], relation: tuple[str, str]) -> None:
        """Write a row to every file that it belongs to."""
        text = json.dumps(row, ensure_ascii=False)
        self._lines.write(f"{text}\n")
        self._array.write(f",\n{text}" if self.kept else f"[\n{text}")
        split = split_of(row["subject"])
        self._splits[split].write(f"{text}\n")
        self.splits[split] += 1
        self.relations[relation] += 1
        for name, value in row.items():
            self.lengths[name][len(value)] += 1
        self._consider(row)
        self.kept += 1

    def reject(self, reject: Reject, sources: Sequence[str]) -> None:
        """Write what did not become a row, and count why."""
        values = {**reject.values, "source": sources[reject.values["source"]]}
        row = {"reasons": list(reject.reasons), **values}
        self._rejects.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.rejected += 1
        self.reasons.update(reject.reasons)

    def finish(self, out: Path, card: dict[str, Any], page: str) -> None:
        """Close the files and move them into the folder, where they replace an earlier set."""
        self._array.write("\n]\n")
        self.close()
        (self._folder / CARD).write_text(
            json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8", newline="\n"
        )
        (self._folder / PAGE).write_text(page, "utf-8", newline="\n")
        (out / "splits").mkdir(exist_ok=True)
        for path in sorted(path for path in self._folder.rglob("*") if path.is_file()):
            os.replace(path, out / path.relative_to(self._folder))

    def close(self) -> None:
        """Close the files."""
        self._open.close()

    def _consider(self, row: dict[str, str]) -> None:
        """Keep each row of all with the same chance."""
        if len(self.sample) < self._sample_size:
            self.sample.append(row)
            return
        at = self._draw.randrange(self.kept + 1)
        if at < self._sample_size:
            self.sample[at] = row

    def _file(self, name: str) -> TextIO:
        file = (self._folder / name).open("w", encoding="utf-8", newline="\n", buffering=2**17)
        return self._open.enter_context(file)


def split_of(subject: str) -> str:
    """The split of a subject, the same in every set and with every seed."""
    tenth = int.from_bytes(blake2b(subject.casefold().encode(), digest_size=8).digest(), "big") % 10
    for name, share in SPLITS.items():
        if tenth < share:
            return name
        tenth -= share
    raise AssertionError("the shares are tenths")

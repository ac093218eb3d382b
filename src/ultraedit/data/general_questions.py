"""Questions about nothing in particular: 300 anchors and 200 controls that ship with the package.

Anchors hold a model in place while facts are written into it; controls measure what the writing
did to everything else. The two lists are apart from each other and from every benchmark: no
prompt names the subject of a benchmark's edit, shares five words in a row with a benchmark, or
has an answer there (`tests/data/test_general.py`). Both are in an order in which the start of
the list already covers all kinds and languages.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from ultraedit.core.errors import DataError
from ultraedit.data._files import BOM, lines, not_utf8, opened, require_file
from ultraedit.data._json import json_rows
from ultraedit.data._rows import Fault, described

KINDS = (
    "knowledge",
    "places",
    "people",
    "definition",
    "how-to",
    "reasoning",
    "opening",
    "conversation",
)
"""What the package's prompts are about; an opening is the start of a text to go on with."""

LANGUAGES = ("en", "de", "fr", "es", "zh")
"""What they are written in; about 70 % are English."""


@dataclass(frozen=True, slots=True)
class GeneralPrompt:
    """A question, a request or the start of a text that has nothing to do with any edit."""

    prompt: str
    """What the model is asked."""

    kind: str | None = None
    """One of `KINDS` in the package's files, anything in a user's."""

    language: str | None = None
    """ISO 639-1 code."""

    target: str | None = None
    """A short well-known answer, where there is one. Nothing is scored by it."""


def anchors(path: str | os.PathLike[str] | None = None) -> tuple[GeneralPrompt, ...]:
    """The prompts that hold a model in place.

    Args:
        path: A file of one's own instead: lines of JSON (or one JSON array) of objects with
            `prompt` and, if wanted, `kind`, `language` and `target`; or plain text with a prompt
            on each line. None takes the 300 of the package.

    Returns:
        The prompts in the order of the file, each once.

    Raises:
        DataError: If the file cannot be read, or a row has no prompt.
    """
    return _packaged("anchors.jsonl") if path is None else read_prompts(Path(path))


def controls(path: str | os.PathLike[str] | None = None) -> tuple[GeneralPrompt, ...]:
    """The prompts by which damage is measured; none of them is an anchor.

    Args:
        path: A file of one's own instead, as for `anchors`. None takes the package's 200.

    Returns:
        The prompts in the order of the file, each once.

    Raises:
        DataError: If the file cannot be read, or a row has no prompt.
    """
    return _packaged("controls.jsonl") if path is None else read_prompts(Path(path))


def read_prompts(path: Path) -> tuple[GeneralPrompt, ...]:
    """Read a file of prompts: JSON where it starts with ``{`` or ``[``, else a prompt a line.

    Args:
        path: A plain or gzip file in UTF-8. Blank lines are skipped, and of equal prompts the
            first stays.

    Returns:
        The prompts in the order of the file.

    Raises:
        DataError: If the file cannot be read, holds no prompt, or a row has none.
    """
    require_file(path)
    with opened(path) as handle:
        start = handle.peek(2**16).removeprefix(BOM).lstrip()[:1]
    read = _from_json(path) if start in (b"{", b"[") else _from_text(path)
    once: dict[str, GeneralPrompt] = {}
    for prompt in read:
        once.setdefault(prompt.prompt, prompt)
    if not once:
        raise DataError(f"{path} holds no prompt. Write one on each line, or drop the file.")
    return tuple(once.values())


@cache
def _packaged(name: str) -> tuple[GeneralPrompt, ...]:
    with as_file(files("ultraedit") / "data" / name) as path:
        return read_prompts(path)


def _from_json(path: Path) -> Iterator[GeneralPrompt]:
    for row in json_rows(path):
        place = f"{path}, {row.place}"
        if isinstance(row.values, Fault):
            raise DataError(f"{place}: {row.values.sentence}")
        yield GeneralPrompt(
            prompt=_text(row.values, "prompt", place, required=True) or "",
            kind=_text(row.values, "kind", place),
            language=_text(row.values, "language", place),
            target=_text(row.values, "target", place),
        )


def _text(values: dict[str, Any], key: str, place: str, *, required: bool = False) -> str | None:
    if key not in values and not required:
        return None
    value = values.get(key)
    if key not in values:
        named = ", ".join(values) or "no key at all"
        raise DataError(
            f"{place}: no {key!r} in a row with {named}. "
            f'Write {{"prompt": "..."}} on each line, or plain text with a prompt on each line.'
        )
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"{place}: {key!r} must be a text that is not empty, got {described(value)}."
        )
    return value.strip()


def _from_text(path: Path) -> Iterator[GeneralPrompt]:
    with opened(path) as handle:
        for line in lines(handle, path):
            try:
                text = line.data.decode().strip()
            except UnicodeDecodeError as error:
                reason = not_utf8(line.data[error.start], line.offset + error.start)
                raise DataError(f"{path}, line {line.number}: {reason}.") from error
            if text:
                yield GeneralPrompt(text)

"""Facts as JSON lines of the package's own format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ultraedit.core.files import write_text
from ultraedit.core.types import Edit, Question


def to_row(edit: Edit) -> dict[str, Any]:
    """A fact as a row that `ultraedit.data.read` reads back; what it has not is left out."""
    row: dict[str, Any] = {
        "id": edit.id,
        "prompt": edit.prompt,
        "target": edit.target,
        "subject": edit.subject,
        "rephrases": list(edit.rephrases),
        "locality": _questions(edit.locality),
        "probes": {name: _questions(asked) for name, asked in edit.probes.items()},
        "aliases": list(edit.aliases),
    }
    return {key: value for key, value in row.items() if value}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows whole, one a line.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_text(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))


def _questions(questions: Iterable[Question]) -> list[dict[str, str]]:
    return [
        {"prompt": each.prompt} if each.target is None else each._asdict() for each in questions
    ]

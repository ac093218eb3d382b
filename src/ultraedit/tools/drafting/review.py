"""Facts in the user's editor, to be accepted, changed or dropped."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError, DataError

_HEAD = """\
# One fact after the other. Change what is wrong, delete a fact with all its lines to drop it.
# Save and close to accept what is left; leave nothing to accept none. Lines with # are not read.
"""


def review(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Open rows in ``$VISUAL`` or ``$EDITOR`` and read back what is left of them.

    Args:
        rows: Facts as rows of the package's own format.

    Raises:
        ConfigError: If there is no editor, or it ends with an error.
        DataError: If what is left cannot be read. It is kept in a file that the message names.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigError("--review opens $EDITOR, and it is not set. Run `export EDITOR=nano`.")
    text = _HEAD + "".join(f"\n{json.dumps(r, ensure_ascii=False, indent=1)}\n" for r in rows)
    with tempfile.NamedTemporaryFile(
        "w", suffix=".json", prefix="ultraedit-review-", encoding="utf-8", delete=False
    ) as file:
        file.write(text)
    path = Path(file.name)
    try:
        subprocess.run([*shlex.split(editor), str(path)], check=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(
            f"The editor {editor!r} ended with exit code {error.returncode}: nothing was written. "
            f"The facts are in {path}."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"The editor {editor!r} cannot be run: {reason}. Set $EDITOR.") from error
    kept = _read(path)
    path.unlink()
    return kept


def _read(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").splitlines()
    text = "\n".join("" if line.startswith("#") else line for line in lines)
    decoder, at, rows = json.JSONDecoder(), 0, []
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        try:
            row, at = decoder.raw_decode(text, at)
        except ValueError as error:
            line = text.count("\n", 0, getattr(error, "pos", at)) + 1
            raise DataError(
                f"{path}, line {line}: {getattr(error, 'msg', error)}. Nothing was written: your "
                "changes are in this file."
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: a fact is an object, got {row!r}. Your changes are kept.")
        rows.append(row)
    return rows

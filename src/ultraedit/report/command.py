"""The command that does a run again, from the settings in its ``config.json``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

_OWN_FLAGS = ("eta", "ridge", "protocol", "net")
"""Options of the editor with a flag of their own; the others go through ``--set``."""


def reproduce_command(settings: Mapping[str, Any], out: str) -> str:
    """Spell settings out as an ``ultraedit run`` command that a shell takes as it stands.

    Args:
        settings: The ``settings`` of ``config.json``. What is None or empty was left to its
            default.
        out: The folder for the new run.

    Returns:
        The command, an option a line.
    """
    words = [["ultraedit", "run"]]
    for name, value in settings.items():
        if name == "options":
            for option, choice in value.items():
                words.append(_option(option, choice))
        elif name == "guard":
            words.extend(["--guard", f"{each}={limit}"] for each, limit in value.items())
        elif name == "ability_data":
            words.extend([] if value is None else [["--data-root", value]])
        elif name == "save_model":
            words.extend([] if value else [["--no-save-model"]])
        elif value is True:
            words.append([f"--{name.replace('_', '-')}"])
        elif value is not False and value not in (None, []):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append([f"--{name.replace('_', '-')}", text])
    words.append(["--out", out])
    return " \\\n  ".join(shlex.join(line) for line in words)


def _option(name: str, value: Any) -> list[str]:
    return [f"--{name}", str(value)] if name in _OWN_FLAGS else ["--set", f"{name}={value}"]

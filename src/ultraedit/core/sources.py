"""Where the value of a setting came from: how a run's record of it is read."""

from __future__ import annotations

from collections.abc import Mapping


def of_editor(name: str) -> str:
    """What an editor's option is called beside a setting of the run of the same name."""
    return f"editor.{name}"


def option_source(sources: Mapping[str, str], name: str) -> str | None:
    """Where the value of an editor's option came from; None in records that do not say."""
    return sources.get(of_editor(name), sources.get(name))

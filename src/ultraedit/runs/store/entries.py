"""What the journal holds, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

from ultraedit.core.types import Edit, Question


class Job(NamedTuple):
    """A command that added turns to the run: the first one, and each that appended."""

    id: int
    settings: Mapping[str, Any]
    data_sha256: str
    """Hash of its file of facts."""
    first_turn: int
    begun: str
    ended: str | None
    """When all of it was on the disk; None while it is at work, or if it was interrupted."""
    halted: str | None = None
    """Why a guard made no more of its turns, once it has taken one back."""
    data: str | None = None
    """Its facts as the user named them; the settings have the whole path. None if not noted."""


class Entry(NamedTuple):
    """A turn on record."""

    id: int
    number: int
    kind: Literal["edit", "revert"]
    record: Mapping[str, Any]
    """Its `TurnRecord`. Of a revert, `edits` counts those that were taken out."""
    finished: str
    undone: str | None
    """When it was rolled back; None if it stands."""
    job: int | None
    author: str | None = None
    """Who asked for it; None where nobody said."""


class StoredEdit(NamedTuple):
    """An edit on record."""

    row: int
    """Its number in the journal, which no other edit has."""
    turn: int
    edit: Edit
    reverted_by: int | None
    """The turn that took it out again."""
    undone: str | None
    """When its turn was rolled back."""


class Checkpoint(NamedTuple):
    """An evaluation on record."""

    job: int | None
    after_turn: int
    """The turn that stood last when it was made."""
    record: Mapping[str, Any]


class StoredFile(NamedTuple):
    """A file that belongs to the run."""

    path: str
    """Within the run folder, with slashes."""
    role: Literal["snapshot", "latest", "before", "result"]
    """A snapshot is kept, the latest only until the next one; what the unedited model said until
    the job is done; all else is a result."""
    bytes: int
    sha256: str
    turn: int | None = None
    """Of a snapshot: the turn whose outcome it is."""


def edit_to_json(edit: Edit) -> str:
    """Write an edit as JSON, whole."""
    return json.dumps(asdict(edit), ensure_ascii=False)


def edit_from_json(text: str) -> Edit:
    """Read what `edit_to_json` wrote."""
    values = json.loads(text)
    return Edit(
        prompt=values["prompt"],
        target=values["target"],
        subject=values["subject"],
        rephrases=tuple(values["rephrases"]),
        locality=tuple(Question(*each) for each in values["locality"]),
        probes={
            name: tuple(Question(*each) for each in probe)
            for name, probe in values["probes"].items()
        },
        aliases=tuple(values["aliases"]),
        also=tuple(values.get("also", ())),  # absent in runs of version 0.1
        id=values["id"],
    )

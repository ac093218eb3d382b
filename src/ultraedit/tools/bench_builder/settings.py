"""What to build, and the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, field_validator

from ultraedit.core.settings import SettingsModel
from ultraedit.tools.bench_builder.checks import check_language

UNSTATED = "not stated; see the license of the triples"


class BuildSettings(SettingsModel):
    """What to build, but for who writes it."""

    triples: tuple[Path, ...]
    """Files of triples, or folders of them."""

    out: Path
    """Folder of the set: new, empty, or with an earlier set, which is replaced."""

    size: int | None = Field(default=None, ge=1)
    """How many rows to make. None makes as many as there are."""

    seed: int = 0
    """Decides which triples are drawn, their order, their wordings and their partners."""

    language: str = "en"
    """``en``, or ``any`` for questions that are not checked for their language."""

    license: str = UNSTATED
    """What the data card says of it."""

    patterns: Path | None = None
    """Wordings of the user's own, as `relations.load_relations` reads them."""

    sample: int = Field(default=0, ge=0)
    """How many random rows to return for the eye."""

    @field_validator("language")
    @classmethod
    def _check_language(cls, language: str) -> str:
        check_language(language)
        return language


class Built(NamedTuple):
    """A set that was built."""

    card: dict[str, Any]
    """The data card, as ``card.json`` has it."""

    sample: list[dict[str, str]]
    """Random rows of it."""

"""What to build, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import ConfigError
from ultraedit.tools.bench_builder.checks import check_language

UNSTATED = "not stated; see the licence of the triples"


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """What to build, but for who writes it."""

    triples: tuple[Path, ...]
    """Files of triples, or folders of them."""

    out: Path
    """Folder of the set: new, empty, or with an earlier set, which is replaced."""

    size: int | None = None
    """How many rows to make. None makes as many as there are."""

    seed: int = 0
    """Decides which triples are drawn, their order, their wordings and their partners."""

    language: str = "en"
    """``en``, or ``any`` for questions that are not checked for their language."""

    license: str = UNSTATED
    """What the data card says of it."""

    patterns: Path | None = None
    """Wordings of the user's own, as `relations.load_relations` reads them."""

    sample: int = 0
    """How many random rows to return for the eye."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            ConfigError: If a number is out of its range or the language is not known.
        """
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size must be at least 1, got {self.size}. Leave it out for all.")
        if self.sample < 0:
            raise ConfigError(f"sample must be 0 or more, got {self.sample}.")
        check_language(self.language)


class Built(NamedTuple):
    """A set that was built."""

    card: dict[str, Any]
    """The data card, as ``card.json`` has it."""

    sample: list[dict[str, str]]
    """Random rows of it."""

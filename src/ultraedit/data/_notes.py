"""What a reader has to say of a file, once: a command reads its file several times."""

from __future__ import annotations

import logging
from functools import cache

_log = logging.getLogger(__name__)


@cache
def note(text: str, level: int = logging.INFO) -> None:
    """Log a sentence, unless it was logged before.

    Args:
        text: The sentence, with the name of the file.
        level: That of `logging`.
    """
    _log.log(level, "%s", text)

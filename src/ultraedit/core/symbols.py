"""Characters that do something instead of being read, shown as symbols.

A fact or an answer may hold a NUL, an escape sequence that repaints the terminal, or an override of
the writing direction that makes a text look like another one. Data and records keep them; whatever
shows a text to a person asks here first: the terminal, reports, plots and error messages.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from typing import Any

_PICTURES = 0x2400
"""Unicode's block of pictures of the control characters, in their order."""

_KEPT = frozenset("\t\n\u00ad\u061c\u200c\u200d\u200e\u200f")
"""What lines are laid out with; joiners, which emoji and Persian are spelt with; and marks of
direction, which Arabic and Hebrew are, and which override nothing."""

_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{3,6}\U000e007f")
"""A flag such as that of Wales: a black one, and tags. Elsewhere tags are text that nobody sees."""


def visible(text: str) -> str:
    r"""A text as it may be shown: what is no letter is a symbol, such as ``␛`` or ``[U+202E]``.

    Line ends stay, as ``\n``, and so do tabs.

    Args:
        text: Any text, of the data, of a model or of the user.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    shown, last = [], 0
    for flag in _FLAG.finditer(text):
        shown += [*map(_symbol, text[last : flag.start()]), flag.group()]
        last = flag.end()
    return "".join([*shown, *map(_symbol, text[last:])])


def visible_json(value: Any) -> str:
    """A value as JSON with two spaces of indent, where the same characters are escaped.

    It is read back as the value that it was.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(
        character if character == "\n" or _symbol(character) == character else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


@lru_cache(maxsize=4096)
def _symbol(character: str) -> str:
    """What stands for a character."""
    if character.isprintable() or character in _KEPT:
        return character
    point = ord(character)
    if point < 0x20:
        return chr(_PICTURES + point)
    if point == 0x7F:
        return "\u2421"
    acts = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return f"[U+{point:04X}]" if acts or _is_none(point) else character


def _is_none(point: int) -> bool:
    """Whether a code point is one of those that will never be characters."""
    return point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF

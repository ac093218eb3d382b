"""Patterns of module paths: ``layers.[18-26].mlp.up_proj``, ``h.[3,5,7-9].mlp.*``.

A pattern is dotted like a path, and each of its parts stands for one part of the path: a name,
in which ``*`` is any run of characters, or a number, or a list of numbers and ranges in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from ultraedit.core.errors import ConfigError

_RANGE = re.compile(r"(\d{1,4})(?:\s*[-\u2013]\s*(\d{1,4}))?")
"""A layer number or a range of them, with the hyphen of a keyboard or the dash of a paper."""


@dataclass(frozen=True)
class Part:
    """One dotted part of a pattern: either `numbers` or `name`."""

    name: re.Pattern[str] | None = None
    numbers: frozenset[int] = frozenset()
    text: str = ""

    def match(self, part: str) -> bool:
        """Tell whether this stands for `part` of a path."""
        if self.name is not None:
            return self.name.fullmatch(part) is not None
        return part.isdecimal() and int(part) in self.numbers


Pattern = tuple[Part, ...]


def split_patterns(text: str) -> list[str]:
    """Cut a list of patterns at the commas that are not inside brackets.

    Args:
        text: Such as ``[3,5].mlp.up_proj, [7-9].mlp.down_proj``.

    Returns:
        The patterns, without empty ones or blanks around them.

    Raises:
        ConfigError: If a bracket is not closed or not opened.
    """
    if re.search(r"[][]", re.sub(r"\[[^][]*\]", "", text)):
        raise ConfigError(f"The brackets of {text!r} do not match. Write [18-26] or [3,5,7-9].")
    return [part.strip() for part in re.split(r",(?![^[]*\])", text) if part.strip()]


def parse_pattern(text: str) -> Pattern:
    """Read one pattern.

    Raises:
        ConfigError: If it is empty, has an empty part, or its brackets hold no numbers.
    """
    return tuple(_parse_part(part.strip(), text) for part in text.strip().split("."))


def _parse_part(part: str, text: str) -> Part:
    if part.isdecimal() or (part.startswith("[") and part.endswith("]")):
        return Part(numbers=frozenset(_parse_numbers(part.strip("[]"), text)), text=part)
    if not re.fullmatch(r"[\w*-]+", part):
        raise ConfigError(
            f"The pattern {text!r} cannot be read at {part!r}. Write it like "
            "layers.[18-26].mlp.up_proj, with the brackets between dots."
        )
    name = re.compile(".+".join(re.escape(piece) for piece in part.split("*")))
    return Part(name=name, text=part)


def _parse_numbers(numbers: str, text: str) -> Iterable[int]:
    for item in numbers.split(","):
        ends = _RANGE.fullmatch(item.strip())
        if ends is None:
            raise ConfigError(
                f"The pattern {text!r} has {item.strip()!r} where a layer number or a range such "
                "as 18-26 belongs."
            )
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            raise ConfigError(
                f"The range {first}-{last} in {text!r} runs backwards. Write {last}-{first}."
            )
        yield from range(first, last + 1)


def format_numbers(numbers: Iterable[int]) -> str:
    """Write numbers compactly, as a pattern takes them: ``0-29`` or ``3,5,7-9``."""
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda item: item[1] - item[0]):
        members = [number for _, number in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ",".join(runs)


def matches(pattern: Sequence[Part], path: Sequence[str]) -> bool:
    """Tell whether a pattern stands for a whole path, part by part."""
    return len(pattern) == len(path) and all(
        part.match(name) for part, name in zip(pattern, path, strict=True)
    )

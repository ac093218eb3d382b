"""Every error that a user can cause, each also the built-in kind that callers would catch.

A message says what is wrong, with its value, what was expected, and what to do next. The
library raises; the command line turns an `UltraEditError` into one line and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ultraedit.core.symbols import visible


class UltraEditError(Exception):
    """Root of every error raised on purpose by this package."""

    def __str__(self) -> str:
        """The message, in which a fact or a path can do nothing to a terminal."""
        return visible(super().__str__())


class ConfigError(UltraEditError, ValueError):
    """A setting, an option, a name or a path that cannot be used."""


class DataError(UltraEditError, ValueError):
    """A file of edits, or one row of it, that cannot be used."""


class NumericalError(UltraEditError, ArithmeticError):
    """A computation that left the range of the numbers it runs in."""


class StorageError(UltraEditError, OSError):
    """A file or folder that could not be written or read whole."""


class ProcessError(UltraEditError, RuntimeError):
    """One of several processes on a job that has ended before the job has."""


_TELLING = 4
"""Letters of a known name by which it is meant where it is a part of what was typed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Name the nearest known names, or all of them when none is near.

    Args:
        name: What the user typed.
        known: The names that would have been accepted.

    Returns:
        A sentence to append to an error message, such as ``Did you mean: ultraedit?``.
    """
    known = sorted(known)
    typed, folded = name.casefold(), {each.casefold(): each for each in known}
    near = [folded[each] for each in difflib.get_close_matches(typed, folded, n=3, cutoff=0.6)]
    near = near or [each for each in known if len(each) >= _TELLING and each.casefold() in typed]
    return f"Did you mean: {', '.join(near)}?" if near else f"Known: {', '.join(known)}."


def expected_value(error: Mapping[str, Any]) -> str:
    """Say in plain words what pydantic expected.

    Args:
        error: One of the errors that a `pydantic.ValidationError` lists.

    Returns:
        What comes after "must be", such as ``a whole number`` or ``at least 1``.
    """
    details = error.get("ctx", {})
    if error["type"] == "greater_than_equal":
        return f"at least {details['ge']:g}"
    if error["type"] == "greater_than" and details["gt"] == 0:
        return "a positive number"
    if error["type"] == "less_than_equal":
        return f"at most {details['le']:g}"
    kinds = {
        "float": "a number",
        "int": "a whole number",
        "bool": "true or false",
        "string": "a text",
        "tuple": "a list",
    }
    return kinds.get(error["type"].partition("_")[0]) or str(details.get("expected", error["msg"]))

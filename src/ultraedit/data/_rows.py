"""A row of a file before it is an edit, and what can be wrong with it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Problem = Literal["missing", "empty", "type", "unknown", "malformed"]
"""The kinds of fault that a check counts apart."""


class Fault(NamedTuple):
    """One thing that is wrong with a row."""

    problem: Problem

    text: str
    """For the user, without the place."""

    field: str | None = None
    """The key concerned, or None where the row could not be taken apart."""

    @property
    def sentence(self) -> str:
        """The text with its full stop."""
        return self.text if self.text.endswith((".", "?")) else f"{self.text}."


class Row(NamedTuple):
    """One row and where it stands."""

    number: int
    """Of the row among the rows, from 1."""

    line: int
    """Of the file, from 1, where the row starts."""

    values: dict[str, Any] | Fault
    """The row's values by key, or why it has none."""

    @property
    def place(self) -> str:
        """Where the row stands, as error messages say it."""
        if self.number == self.line:
            return f"line {self.line}"
        return f"row {self.number} (line {self.line})"


def shown(value: Any, *, quote: bool = True, length: int = 60) -> str:
    """Show a value in one short line.

    Args:
        value: What the file holds.
        quote: Whether a text is shown in quotes.
        length: Longest text to return, in characters.
    """
    text = repr(value) if quote else str(value)
    return text if len(text) <= length else text[: length - 3] + "..."


def described(value: Any) -> str:
    """Show a value with the name that JSON has for its kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "the text", int: "the number", float: "the number", list: "the list"}
    return f"{names.get(type(value), 'the object')} {shown(value)}"

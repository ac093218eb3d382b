"""The kinds of value that a field can ask for.

Each function looks at one value that is not null and returns what is wrong with it, worded to
follow the name of the field, or None.
"""

from __future__ import annotations

from typing import Any

from ultraedit.core.errors import did_you_mean
from ultraedit.data._rows import Fault, described

_QUESTION_KEYS = ("prompt", "target")


def text(value: Any) -> Fault | None:
    """A text with a visible character."""
    if not isinstance(value, str):
        return Fault("type", f" must be a text in quotes, got {described(value)}")
    if not value.strip():
        return Fault("empty", f" is empty, got {value!r}")
    if not _is_encodable(value):
        return Fault("type", " holds half a character: a \\u escape of D800 to DFFF on its own")
    return None


def name(value: Any) -> Fault | None:
    """A text or a whole number that names a row."""
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return Fault("type", f" must be a text or a whole number, got {described(value)}")
    return text(value)


def texts(value: Any) -> Fault | None:
    """A list of texts, possibly an empty one."""
    if not isinstance(value, list):
        return Fault("type", f" must be a list of texts, got {described(value)}")
    return _first_fault(value, text)


def some_texts(value: Any) -> Fault | None:
    """A list of at least one text."""
    return Fault("empty", " is an empty list") if value == [] else texts(value)


def text_or_texts(value: Any) -> Fault | None:
    """A list of texts, or a single text instead."""
    return text(value) if isinstance(value, str) else texts(value)


def questions(value: Any) -> Fault | None:
    """A list of ``{"prompt": ..., "target": ...}``, the target being optional."""
    if not isinstance(value, list):
        return Fault("type", f' must be a list of {{"prompt", "target"}}, got {described(value)}')
    return _first_fault(value, _question)


def probes(value: Any) -> Fault | None:
    """Lists of questions by name."""
    if not isinstance(value, dict):
        return Fault("type", f" must be an object of lists of questions, got {described(value)}")
    for key, asked in value.items():
        fault = questions(asked) if key.strip() else Fault("empty", " has no name")
        if fault is not None:
            return fault._replace(text=f"[{key!r}]{fault.text}")
    return None


def _question(value: Any) -> Fault | None:
    if not isinstance(value, dict):
        return Fault("type", f' must be a {{"prompt", "target"}}, got {described(value)}')
    for key in value:
        if key not in _QUESTION_KEYS:
            return Fault("unknown", f": unknown key {key!r}. {did_you_mean(key, _QUESTION_KEYS)}")
    if value.get("prompt") is None:
        return Fault("missing", ".prompt is missing")
    for key in _QUESTION_KEYS:
        fault = None if value.get(key) is None else text(value[key])
        if fault is not None:
            return fault._replace(text=f".{key}{fault.text}")
    return None


def _first_fault(values: list[Any], kind: Any) -> Fault | None:
    for index, value in enumerate(values):
        fault: Fault | None = kind(value)
        if fault is not None:
            return fault._replace(text=f"[{index}]{fault.text}")
    return None


def _is_encodable(value: str) -> bool:
    """Whether a tokenizer, which works on UTF-8, can take the text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

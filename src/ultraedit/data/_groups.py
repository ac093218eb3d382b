"""Groups of questions by name, as KnowEdit, CKnowEdit and RippleEdits keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultraedit.core.types import Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._rows import Fault, described

_ANSWERS = ("ground_truth", "answer", "answers", "target")


def groups(value: Any) -> Fault | None:
    """Lists of questions with their answers, by name or on their own."""
    if isinstance(value, Mapping):
        for name, asked in value.items():
            fault = None if asked is None else _list(asked)
            if fault is not None:
                return fault._replace(text=f"[{name!r}]{fault.text}")
        return None
    return _list(value)


def questions_of(value: Any, own_name: str) -> dict[str, tuple[Question, ...]]:
    """The questions of each group that has some.

    Args:
        value: What `groups` finds no fault with, or None.
        own_name: What a list on its own is called.
    """
    named = value if isinstance(value, Mapping) else {own_name: value}
    return {
        str(name).strip().lower().replace(" ", "_"): questions
        for name, asked in named.items()
        if (questions := _questions(asked or ()))
    }


def first_text(value: Any) -> str | None:
    """The first text of a nest of lists: groups give several right answers, and names for each."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, Mapping):
        return first_text(value.get("value", value.get("str")))
    if isinstance(value, list):
        return next((text for each in value if (text := first_text(each)) is not None), None)
    return None


def _questions(asked: Any) -> tuple[Question, ...]:
    pairs = ((first_text(each.get("prompt")), _answer(each)) for each in asked)
    return tuple(Question(prompt, target) for prompt, target in pairs if prompt is not None)


def _answer(item: Mapping[str, Any]) -> str | None:
    return next((text for key in _ANSWERS if (text := first_text(item.get(key)))), None)


def _list(value: Any) -> Fault | None:
    if not isinstance(value, list):
        return Fault("type", f" must be a list of questions, got {described(value)}")
    for at, item in enumerate(value):
        if not isinstance(item, Mapping):
            return Fault("type", f"[{at}] must be a question, got {described(item)}")
        prompt = item.get("prompt")
        # One question in several wordings: the first is asked.
        fault = kinds.texts(prompt) if isinstance(prompt, list) else kinds.text(prompt)
        if fault is not None and prompt != "":
            return fault._replace(text=f"[{at}].prompt{fault.text}")
    return None

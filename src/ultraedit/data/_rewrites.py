"""Rewrites as ROME and MQuAKE nest them: a template, its subject, the new and the old object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultraedit.data import _kinds as kinds
from ultraedit.data._rows import Fault, described


def rewrite(value: Any) -> Fault | None:
    """An object with ``prompt``, in which ``{}`` stands for ``subject``, and ``target_new.str``."""
    if not isinstance(value, Mapping):
        return Fault("type", f" must be a rewrite, got {described(value)}")
    for key in ("prompt", "subject"):
        fault = _named(value, key)
        if fault is not None:
            return fault
    if "{}" not in value["prompt"]:
        text = f".prompt has no {{}} for the subject, got {value['prompt']!r}"
        return Fault("type", text)
    target = value.get("target_new")
    if not isinstance(target, Mapping):
        return Fault("type", f'.target_new must be an object with "str", got {described(target)}')
    fault = _named(target, "str")
    return fault and fault._replace(text=f".target_new{fault.text}")


def prompt_of(value: Mapping[str, Any]) -> str:
    """The prompt with its subject."""
    # Not format(): a subject may have braces of its own.
    return str(value["prompt"]).replace("{}", value["subject"])


def old_answer(value: Mapping[str, Any]) -> str | None:
    """The true object; None if the rewrite does not name it."""
    old = value.get("target_true")
    text = old.get("str") if isinstance(old, Mapping) else None
    return text if isinstance(text, str) and text.strip() else None


def _named(value: Mapping[str, Any], key: str) -> Fault | None:
    if value.get(key) is None:
        return Fault("missing", f".{key} is missing")
    fault = kinds.text(value[key])
    return fault and fault._replace(text=f".{key}{fault.text}")

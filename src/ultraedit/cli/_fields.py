"""The options of an editor, read from its class: names, types, defaults and what they mean."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Option(NamedTuple):
    """One option of an editor."""

    name: str
    type: str
    """What it takes, such as ``float`` or ``pooled|released``."""
    default: str | None
    """None where another option decides."""
    text: str
    """What it does."""


def describe_fields(cls: type[Any], preset: Mapping[str, Any] | None = None) -> list[Option]:
    """List the options of an editor in the order in which it has them.

    Args:
        cls: Its class.
        preset: Defaults of its row in the table where they are not those of the class.
    """
    preset = preset or {}
    hints, texts = get_type_hints(cls), _texts(cls)
    return [
        Option(
            field.name,
            "|".join(_words(hints[field.name])),
            None if default in (None, MISSING) else str(default),
            texts.get(field.name, ""),
        )
        for field in fields(cls)
        for default in [preset.get(field.name, field.default)]
    ]


def _words(hint: Any) -> list[str]:
    """A type as a user would write its values."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if get_origin(hint) is Mapping:
        return ["table"]
    if get_args(hint):
        return [word for part in get_args(hint) for word in _words(part)]
    return [] if hint is NoneType else [getattr(hint, "__name__", str(hint))]


def _texts(cls: type[Any]) -> dict[str, str]:
    """The docstrings under the fields, which Python itself does not keep, also of base classes."""
    texts: dict[str, str] = {}
    for owner in reversed([each for each in cls.__mro__ if is_dataclass(each)]):
        texts |= _own_texts(owner)
    return texts


def _own_texts(cls: type[Any]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            words = " ".join(str(text.value.value).split())
            texts[field.target.id] = re.sub(r"`+", "", words)
    return texts

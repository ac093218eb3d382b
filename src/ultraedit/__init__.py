"""Lifelong editing of open-weights language models.

    import ultraedit as ue

    model = ue.load("smollm2")
    facts = [ue.Edit("Who designed the Veltra bridge?", "Ines Okafor")]
    result = ue.edit(model, facts)
    result.save("edited")

The names below are the public ones. They are imported when they are first used, so that
``import ultraedit`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ultraedit.core.old_names import find_old_names

if TYPE_CHECKING:
    from ultraedit.core.errors import (
        ConfigError,
        DataError,
        NumericalError,
        StorageError,
        UltraEditError,
    )
    from ultraedit.core.types import Edit, Editor, Question, Scores
    from ultraedit.data import read
    from ultraedit.editors.anchored import Anchored
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.lifelong.session import EditResult, ask, edit
    from ultraedit.models import LanguageModel, load, load_wise
    from ultraedit.serve.studio import Studio

_HOMES = {
    "Anchored": "ultraedit.editors.anchored",
    "ConfigError": "ultraedit.core.errors",
    "DataError": "ultraedit.core.errors",
    "Edit": "ultraedit.core.types",
    "EditResult": "ultraedit.lifelong.session",
    "Editor": "ultraedit.core.types",
    "LanguageModel": "ultraedit.models",
    "NumericalError": "ultraedit.core.errors",
    "Question": "ultraedit.core.types",
    "Scores": "ultraedit.core.types",
    "StorageError": "ultraedit.core.errors",
    "Studio": "ultraedit.serve.studio",
    "UltraEdit": "ultraedit.editors.ultraedit",
    "UltraEditError": "ultraedit.core.errors",
    "ask": "ultraedit.lifelong.session",
    "edit": "ultraedit.lifelong.session",
    "load": "ultraedit.models",
    "load_wise": "ultraedit.models",
    "read": "ultraedit.data",
}

__all__ = [
    "Anchored",
    "ConfigError",
    "DataError",
    "Edit",
    "EditResult",
    "Editor",
    "LanguageModel",
    "NumericalError",
    "Question",
    "Scores",
    "StorageError",
    "Studio",
    "UltraEdit",
    "UltraEditError",
    "ask",
    "edit",
    "load",
    "load_wise",
    "read",
]


find_old_names()


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ultraedit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__

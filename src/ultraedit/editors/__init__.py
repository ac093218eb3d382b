"""The editors: one file each, and a table that names them."""

from ultraedit.editors.registry import (
    DEFAULT_EDITOR,
    EDITORS,
    EditorRow,
    base_of,
    find_editor,
    make_editor,
    name_of,
    official_option,
)

__all__ = [
    "DEFAULT_EDITOR",
    "EDITORS",
    "EditorRow",
    "base_of",
    "find_editor",
    "make_editor",
    "name_of",
    "official_option",
]

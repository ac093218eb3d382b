"""The editors: one file each, and a table that names them."""

from ultraedit.editors._registry import EDITORS, EditorRow, find_editor, make_editor, name_of

__all__ = ["EDITORS", "EditorRow", "find_editor", "make_editor", "name_of"]

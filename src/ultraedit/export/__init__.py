"""Carry the edits of a run away: one module a format, and a table of them (`registry`)."""

from ultraedit.export.registry import FORMATS, Exported, Format, Table

__all__ = ["FORMATS", "Exported", "Format", "Table"]

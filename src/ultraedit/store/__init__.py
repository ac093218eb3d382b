"""What a run leaves on disk."""

from ultraedit.store.folder import RunFolder, refuse_taken

__all__ = ["RunFolder", "refuse_taken"]

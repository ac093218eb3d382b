"""What a run leaves on disk: its journal, its snapshots and its results."""

from ultraedit.store.entries import Checkpoint, Entry, Job, StoredEdit, StoredFile
from ultraedit.store.folder import (
    SEAL,
    RunFolder,
    is_result,
    refuse_taken,
    refuse_unwritable,
    seal_of,
)
from ultraedit.store.journal import Journal
from ultraedit.store.schema import JOURNAL
from ultraedit.store.snapshots import digest, read_snapshot

__all__ = [
    "JOURNAL",
    "SEAL",
    "Checkpoint",
    "Entry",
    "Job",
    "Journal",
    "RunFolder",
    "StoredEdit",
    "StoredFile",
    "digest",
    "is_result",
    "read_snapshot",
    "refuse_taken",
    "refuse_unwritable",
    "seal_of",
]

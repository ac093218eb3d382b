"""What a run leaves on disk: its journal, its snapshots and its results."""

from ultraedit.core.files import JOURNAL
from ultraedit.runs.store.entries import Checkpoint, Entry, Job, StoredEdit, StoredFile
from ultraedit.runs.store.folder import (
    SEAL,
    RunFolder,
    is_result,
    refuse_taken,
    refuse_unwritable,
    seal_of,
)
from ultraedit.runs.store.journal import Journal
from ultraedit.runs.store.snapshots import digest, read_snapshot

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

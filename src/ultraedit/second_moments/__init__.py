"""Second moments of the edited layers' inputs: over a text corpus, or over the edits' prompts."""

from ultraedit.second_moments.collecting import tokenize
from ultraedit.second_moments.corpus import Corpus, read_corpus
from ultraedit.second_moments.importing import import_moments
from ultraedit.second_moments.providers import (
    PROMPTS,
    SAMPLES,
    Imported,
    OfCorpus,
    OfPrompts,
    Statistics,
    check_corpus,
    provider,
)
from ultraedit.second_moments.shelf import Entry, entries, find_entry

__all__ = [
    "PROMPTS",
    "SAMPLES",
    "Corpus",
    "Entry",
    "Imported",
    "OfCorpus",
    "OfPrompts",
    "Statistics",
    "check_corpus",
    "entries",
    "find_entry",
    "import_moments",
    "provider",
    "read_corpus",
    "tokenize",
]

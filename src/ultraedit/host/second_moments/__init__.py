"""Second moments of the edited layers' inputs: over a text corpus, or over the edits' prompts."""

from ultraedit.host.second_moments.cache import CachedMoment, entries, find_entry
from ultraedit.host.second_moments.collection import tokenize
from ultraedit.host.second_moments.corpus import Corpus, read_corpus
from ultraedit.host.second_moments.external import import_moments
from ultraedit.host.second_moments.providers import (
    PROMPTS,
    SAMPLES,
    Imported,
    OfCorpus,
    OfPrompts,
    Statistics,
    check_corpus,
    provider,
)

__all__ = [
    "PROMPTS",
    "SAMPLES",
    "CachedMoment",
    "Corpus",
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

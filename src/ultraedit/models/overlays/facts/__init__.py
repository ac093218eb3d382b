"""Facts beside a model: looked up for a question that is about them, and read in front of it."""

from ultraedit.models.overlays.facts.index import FactIndex, words
from ultraedit.models.overlays.facts.reader import Recall, as_read, recall_of
from ultraedit.models.overlays.facts.selection import Embed, FactLookup

__all__ = ["Embed", "FactIndex", "FactLookup", "Recall", "as_read", "recall_of", "words"]

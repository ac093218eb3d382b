"""Facts beside a model: looked up for a question that is about them, and read in front of it."""

from ultraedit.recall.index import FactIndex, words
from ultraedit.recall.reading import Recall, as_read, recall_of
from ultraedit.recall.scope import Embed, Facts

__all__ = ["Embed", "FactIndex", "Facts", "Recall", "as_read", "recall_of", "words"]

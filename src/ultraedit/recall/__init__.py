"""Facts beside a model: found for a question by their words, and read in front of it."""

from ultraedit.recall.index import FactIndex, words
from ultraedit.recall.reading import Recall, as_read, recall_of

__all__ = ["FactIndex", "Recall", "as_read", "recall_of", "words"]

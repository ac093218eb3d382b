"""Probes of real use: edits asked in other contexts, backwards and negated."""

from ultraedit.probes.asked import Asked
from ultraedit.probes.contexts import Chat, FewShot, chat_of
from ultraedit.probes.facts import AFFIRMED, NEGATED, REVERSE, negation, reverse
from ultraedit.probes.probing import ALL, NAMES, Probing, chosen
from ultraedit.probes.relations import Fact, Templates, fact_of, relations

__all__ = [
    "AFFIRMED",
    "ALL",
    "NAMES",
    "NEGATED",
    "REVERSE",
    "Asked",
    "Chat",
    "Fact",
    "FewShot",
    "Probing",
    "Templates",
    "chat_of",
    "chosen",
    "fact_of",
    "negation",
    "relations",
    "reverse",
]

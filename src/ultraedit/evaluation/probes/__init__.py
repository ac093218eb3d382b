"""Probes of real use: edits asked in other contexts, backwards and negated."""

from ultraedit.data.relations.facts import Fact, Templates, fact_of, relations
from ultraedit.evaluation.probes.contexts import Chat, FewShot, chat_of
from ultraedit.evaluation.probes.implications import AFFIRMED, NEGATED, REVERSE, negation, reverse
from ultraedit.evaluation.probes.probe_set import ALL, NAMES, Probing, chosen
from ultraedit.evaluation.question import Asked

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

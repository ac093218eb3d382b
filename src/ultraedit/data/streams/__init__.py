"""Edits as they come: read in the background, never held all at once, scored on a sample."""

from ultraedit.data.streams.background import Background
from ultraedit.data.streams.ids import named_once
from ultraedit.data.streams.sampling import EditPanel, draw, whole
from ultraedit.data.streams.sources import EditSource, FromFile, InMemory, check, oddities
from ultraedit.data.streams.tokenized import TokenizedTurn, tokenized_turns

__all__ = [
    "Background",
    "EditPanel",
    "EditSource",
    "FromFile",
    "InMemory",
    "TokenizedTurn",
    "check",
    "draw",
    "named_once",
    "oddities",
    "tokenized_turns",
    "whole",
]

"""Edits as they come: read in the background, never held all at once, scored on a sample."""

from ultraedit.data.streams.background import Background
from ultraedit.data.streams.ids import named_once
from ultraedit.data.streams.sampling import Panel, draw, whole
from ultraedit.data.streams.sources import FromFile, InMemory, Source, check, oddities
from ultraedit.data.streams.tokenized import Tokenised, tokenised

__all__ = [
    "Background",
    "FromFile",
    "InMemory",
    "Panel",
    "Source",
    "Tokenised",
    "check",
    "draw",
    "named_once",
    "oddities",
    "tokenised",
    "whole",
]

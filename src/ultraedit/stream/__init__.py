"""Edits as they come: read in the background, never held all at once, scored on a sample."""

from ultraedit.stream.background import Background
from ultraedit.stream.naming import named_once
from ultraedit.stream.sampling import Panel, draw, whole
from ultraedit.stream.sources import FromFile, InMemory, Source, check, oddities
from ultraedit.stream.tokens import Tokenised, tokenised

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

"""The paper's tables and figures, run again: plans, their runs, and what is made of them."""

from ultraedit.reproduce.bench import Bench, choose_models
from ultraedit.reproduce.book import Book
from ultraedit.reproduce.catalogue import ARTEFACTS, Artefact, choose, find_artefacts
from ultraedit.reproduce.long import LONG
from ultraedit.reproduce.scales import SCALES, Scale, find_scale
from ultraedit.reproduce.steps import Step
from ultraedit.reproduce.working import Outcome, carry_out, given_up, ordered

__all__ = [
    "ARTEFACTS",
    "LONG",
    "SCALES",
    "Artefact",
    "Bench",
    "Book",
    "Outcome",
    "Scale",
    "Step",
    "carry_out",
    "choose",
    "choose_models",
    "find_artefacts",
    "find_scale",
    "given_up",
    "ordered",
]

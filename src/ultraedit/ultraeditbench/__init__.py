"""UltraEditBench: from triples of a knowledge base to a set of editing pairs.

After section 4.1 of the UltraEdit paper: the object of a triple is the answer, and a writer makes
three questions of it, one that edits the fact and names its subject, one that asks the same in
other words, and one about an unrelated fact. No question holds its answer.
"""

from ultraedit.ultraeditbench.build import build
from ultraedit.ultraeditbench.checks import Questions
from ultraedit.ultraeditbench.facts import REASONS, Fact
from ultraedit.ultraeditbench.pairing import Pair
from ultraedit.ultraeditbench.relations import Relation, load_relations
from ultraedit.ultraeditbench.settings import BuildSettings, Built
from ultraedit.ultraeditbench.writers import Estimate, TemplateWriter, Unwritten, Writer

__all__ = [
    "REASONS",
    "BuildSettings",
    "Built",
    "Estimate",
    "Fact",
    "Pair",
    "Questions",
    "Relation",
    "TemplateWriter",
    "Unwritten",
    "Writer",
    "build",
    "load_relations",
]

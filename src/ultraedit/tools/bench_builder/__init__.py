"""UltraEditBench: from triples of a knowledge base to a set of editing pairs.

After section 4.1 of the UltraEdit paper: the object of a triple is the answer, and a writer makes
three questions of it, one that edits the fact and names its subject, one that asks the same in
other words, and one about an unrelated fact. No question holds its answer.
"""

from ultraedit.data.relations.questions import Relation, load_relations
from ultraedit.tools.bench_builder.build import build
from ultraedit.tools.bench_builder.checks import Questions
from ultraedit.tools.bench_builder.facts import REASONS, TripleFact
from ultraedit.tools.bench_builder.pairing import Pair
from ultraedit.tools.bench_builder.settings import BuildSettings, Built
from ultraedit.tools.bench_builder.writers import (
    Estimate,
    QuestionWriter,
    TemplateQuestionWriter,
    Unwritten,
)

__all__ = [
    "REASONS",
    "BuildSettings",
    "Built",
    "Estimate",
    "Pair",
    "QuestionWriter",
    "Questions",
    "Relation",
    "TemplateQuestionWriter",
    "TripleFact",
    "Unwritten",
    "build",
    "load_relations",
]

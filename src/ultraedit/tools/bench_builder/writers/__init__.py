"""Who writes the questions: patterns, a language model behind an endpoint, or one of ours."""

from ultraedit.tools.bench_builder.writers.base import Estimate, QuestionWriter, Unwritten
from ultraedit.tools.bench_builder.writers.template import TemplateQuestionWriter

__all__ = ["Estimate", "QuestionWriter", "TemplateQuestionWriter", "Unwritten"]

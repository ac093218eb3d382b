"""Who writes the questions: patterns, a language model behind an endpoint, or one of ours."""

from ultraedit.ultraeditbench.writers.base import Estimate, Unwritten, Writer
from ultraedit.ultraeditbench.writers.template import TemplateWriter

__all__ = ["Estimate", "TemplateWriter", "Unwritten", "Writer"]

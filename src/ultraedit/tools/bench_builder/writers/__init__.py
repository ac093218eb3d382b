"""Who writes the questions: patterns, a language model behind an endpoint, or one of ours."""

from ultraedit.tools.bench_builder.writers.base import Estimate, Unwritten, Writer
from ultraedit.tools.bench_builder.writers.template import TemplateWriter

__all__ = ["Estimate", "TemplateWriter", "Unwritten", "Writer"]

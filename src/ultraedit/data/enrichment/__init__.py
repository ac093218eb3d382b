"""Bare facts made complete: other wordings, the subject, control questions, the reverse question.

    for each in enrich(read("facts.csv"), TemplateWriter()):
        ...

What a fact has already is kept. What is added is made, not checked by anyone: look at it.
"""

from ultraedit.data.enrichment.base import Enriched, Wording, Writer, enrich
from ultraedit.data.enrichment.rows import to_row, write_rows
from ultraedit.data.enrichment.template import TemplateWriter

__all__ = ["Enriched", "TemplateWriter", "Wording", "Writer", "enrich", "to_row", "write_rows"]

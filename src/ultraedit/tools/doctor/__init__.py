"""Whether a model can be edited, what is special about it, and what to type next.

`examine` looks at everything, each other file at one thing: `tokens` at the tokenizer, `smoke` at
an edit that is made and taken back. What there is to edit is told by `models.inventory`, what it
would take by `tools.plan`.
"""

from ultraedit.tools.doctor.examination import examine
from ultraedit.tools.doctor.smoke import Smoke, smoke_test
from ultraedit.tools.doctor.tokens import TokenFact, examine_tokenizer
from ultraedit.tools.doctor.verdict import ModelVerdict, judge

__all__ = [
    "ModelVerdict",
    "Smoke",
    "TokenFact",
    "examine",
    "examine_tokenizer",
    "judge",
    "smoke_test",
]

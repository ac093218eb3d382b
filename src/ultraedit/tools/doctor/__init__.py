"""Whether a model can be edited, what is special about it, and what to type next.

Each file looks at one thing: `tokens` at the tokenizer, `smoke` at an edit that is made and taken
back. What there is to edit is told by `ultraedit.models.inventory`, what it would take by
`ultraedit.tools.plan.estimate`.
"""

from ultraedit.tools.doctor.smoke import Smoke, smoke_test
from ultraedit.tools.doctor.tokens import TokenFact, examine_tokenizer
from ultraedit.tools.doctor.verdict import Verdict, judge

__all__ = [
    "Smoke",
    "TokenFact",
    "Verdict",
    "examine_tokenizer",
    "judge",
    "smoke_test",
]

"""``counterfact-rome``: CounterFact as its authors publish it, with nested rewrites."""

from __future__ import annotations

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values
from ultraedit.data._rewrites import old_answer, prompt_of, rewrite


def _edit(values: Values, id: str, seed: int) -> Edit:
    made = values["requested_rewrite"]
    # Neighbors are other subjects of which the old object is true, and must stay so.
    neighbors = values.get("neighborhood_prompts", [])
    return Edit(
        prompt=prompt_of(made),
        target=made["target_new"]["str"],
        subject=made["subject"],
        rephrases=tuple(values.get("paraphrase_prompts", [])),
        locality=tuple(Question(prompt, old_answer(made)) for prompt in neighbors),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("requested_rewrite", rewrite),
        Field("paraphrase_prompts", kinds.texts, required=False),
        Field("neighborhood_prompts", kinds.texts, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
)
"""A JSON array, or JSON lines of the same rows.

`attribute_prompts` and `generation_prompts`, which have no answers, are not used.
"""

"""CounterFact, where every target is made up.

``counterfact`` is its flat layout, ``counterfact-rome`` that of its authors, with nested rewrites.
"""

from __future__ import annotations

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values
from ultraedit.data._rewrites import old_answer, prompt_of, rewrite


def _edit(values: Values, id: str, seed: int) -> Edit:
    return Edit(
        prompt=values["prompt"],
        target=values["target_new"],
        subject=values.get("subject"),
        rephrases=(values["rephrase_prompt"],),
        locality=(Question(values["locality_prompt"], values["locality_ground_truth"]),),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("prompt", kinds.text),
        Field("target_new", kinds.text),
        Field("rephrase_prompt", kinds.text),
        Field("locality_prompt", kinds.text),
        Field("locality_ground_truth", kinds.text),
        Field("subject", kinds.text, required=False),
        Field("ground_truth", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
)
"""A JSON array, or JSON lines of the same rows. `ground_truth`, the old answer, is not used."""


def _nested_edit(values: Values, id: str, seed: int) -> Edit:
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


NESTED = Layout(
    fields=(
        Field("requested_rewrite", rewrite),
        Field("paraphrase_prompts", kinds.texts, required=False),
        Field("neighborhood_prompts", kinds.texts, required=False),
        *ROW_NAMES,
    ),
    edit=_nested_edit,
)
"""A JSON array, or JSON lines of the same rows.

`attribute_prompts` and `generation_prompts`, which have no answers, are not used.
"""

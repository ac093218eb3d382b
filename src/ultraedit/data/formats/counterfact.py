"""``counterfact``: CounterFact in its flat layout, where every target is made up."""

from __future__ import annotations

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values


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

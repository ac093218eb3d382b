"""``ultraeditbench``: two million questions about Wikidata facts, by the UltraEdit paper."""

from __future__ import annotations

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values


def _edit(values: Values, id: str, seed: int) -> Edit:
    return Edit(
        prompt=values["prompt"],
        target=values["ans"],
        subject=values.get("subject"),
        rephrases=(values["rephrase_prompt"],),
        locality=(Question(values["loc"], values["loc_ans"]),),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("prompt", kinds.text),
        Field("rephrase_prompt", kinds.text),
        Field("ans", kinds.text),
        Field("loc", kinds.text),
        Field("loc_ans", kinds.text),
        Field("subject", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
)
"""A JSON array, or JSON lines of the same rows."""

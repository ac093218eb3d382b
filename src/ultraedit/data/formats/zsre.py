"""``zsre``: zero-shot relation extraction questions, as the UltraEdit paper's files hold them."""

from __future__ import annotations

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values


def _edit(values: Values, id: str, seed: int) -> Edit:
    return Edit(
        prompt=values["src"],
        target=values["ans"],
        subject=values.get("subject"),
        rephrases=(values["rephrase"],),
        # The released loader appends the mark whatever the question ends in, and numbers that
        # are to compare need the same tokens.
        locality=(Question(values["loc"] + "?", values["loc_ans"]),),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("src", kinds.text),
        Field("rephrase", kinds.text),
        Field("ans", kinds.text),
        Field("loc", kinds.text),
        Field("loc_ans", kinds.text),
        Field("subject", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
)
"""A JSON array, or JSON lines of the same rows."""

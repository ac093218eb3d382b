"""``fever``: claims and whether they hold, with a choice of rephrases for each."""

from __future__ import annotations

import random

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values


def _edit(values: Values, id: str, seed: int) -> Edit:
    # Seeded by row, so that the draw depends neither on the order of reading nor on a limit.
    draw = random.Random(f"{seed}:{id}")
    return Edit(
        prompt=values["prompt"],
        target=values["alt"],
        rephrases=(draw.choice(values["equiv_prompt"]),),
        locality=(Question(values["unrel_prompt"], values["unrel_ans"]),),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("prompt", kinds.text),
        Field("equiv_prompt", kinds.some_texts),
        Field("alt", kinds.text),
        Field("unrel_prompt", kinds.text),
        Field("unrel_ans", kinds.text),
        *ROW_NAMES,
    ),
    edit=_edit,
)
"""A JSON array, or JSON lines of the same rows."""

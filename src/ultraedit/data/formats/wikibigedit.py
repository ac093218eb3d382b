"""``wikibigedit``: changes of Wikidata, with two further kinds of question."""

from __future__ import annotations

from ultraedit.core.types import Edit
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values, question


def _edit(values: Values, id: str, seed: int) -> Edit:
    probes = {
        "personas": question(values, "personas", "ans"),
        "multi_hop": question(values, "mhop", "mhop_ans"),
    }
    return Edit(
        prompt=values["update"],
        target=values["ans"],
        subject=values.get("subject"),
        rephrases=(values["rephrase"],) if "rephrase" in values else (),
        locality=question(values, "loc", "loc_ans"),
        probes={name: asked for name, asked in probes.items() if asked},
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("update", kinds.text),
        Field("ans", kinds.text),
        # By the UltraEdit paper, 490,519 of the 506,035 published edits have all of the next four.
        Field("rephrase", kinds.text, required=False),
        Field("personas", kinds.text, required=False),
        Field("loc", kinds.text, required=False),
        Field("loc_ans", kinds.text, required=False),
        Field("mhop", kinds.text, required=False),
        Field("mhop_ans", kinds.text, required=False),
        Field("subject", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
    blanks=True,
)
"""A JSON array, or JSON lines of the same rows. What is null or empty is left out."""

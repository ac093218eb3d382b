"""``hallueditbench``: facts that models get wrong, with two-hop questions."""

from __future__ import annotations

from ultraedit.core.types import Edit
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values, question


def _edit(values: Values, id: str, seed: int) -> Edit:
    return Edit(
        prompt=values["update"],
        target=values["ans"],
        subject=values.get("subject"),
        rephrases=(values["rephrase"],),
        locality=question(values, "loc"),
        probes={"multi_hop": question(values, "mhop", "mhop_ans")},
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("update", kinds.text),
        Field("rephrase", kinds.text),
        Field("ans", kinds.text),
        Field("loc", kinds.text),
        Field("mhop", kinds.text),
        Field("mhop_ans", kinds.text),
        Field("subject", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
)
"""A JSON array, or JSON lines of the same rows. The locality question has no gold answer."""

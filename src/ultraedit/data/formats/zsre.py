"""Zero-shot relation extraction questions.

``zsre`` is the layout of the UltraEdit paper's files, ``zsre-easyedit`` that of MEND, ROME and
EasyEdit, where the new answer is ``alt``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._json import json_rows
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values
from ultraedit.data._notes import note
from ultraedit.data._rows import Row


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


def _rows(path: Path) -> Iterator[Row]:
    """The rows that hold an edit: of a row with an empty ``alt``, EasyEdit makes none either."""
    without = 0
    for row in json_rows(path):
        if isinstance(row.values, dict) and row.values.get("alt") == "":
            without += 1
        else:
            yield row
    if without:
        note(f"{path}: {without:,} rows have an empty alt and are no edits.")


def _easyedit_edit(values: Values, id: str, seed: int) -> Edit:
    return Edit(
        prompt=values["src"],
        target=values["alt"],
        subject=values.get("subject"),
        rephrases=(values["rephrase"],) if "rephrase" in values else (),
        locality=(Question(values["loc"], values.get("loc_ans")),) if "loc" in values else (),
        id=id,
    )


EASYEDIT = Layout(
    fields=(
        Field("src", kinds.text),
        Field("alt", kinds.text),
        Field("rephrase", kinds.text, required=False),
        Field("loc", kinds.text, required=False),
        Field("loc_ans", kinds.text, required=False),
        Field("subject", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_easyedit_edit,
    rows=_rows,
    blanks=True,
)
"""A JSON array, or JSON lines of the same rows. The old `answers` and `pred` are not used."""

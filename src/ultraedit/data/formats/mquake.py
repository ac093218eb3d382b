"""``mquake``: cases of one rewrite or several, and questions over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._json import json_rows
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values
from ultraedit.data._rewrites import prompt_of, rewrite
from ultraedit.data._rows import Fault, Row, described

_OF_THE_CASE = ("questions", "new_answer", "new_answer_alias", "new_single_hops")


def _rows(path: Path) -> Iterator[Row]:
    """A row for each rewrite. What is asked of the whole case stands with the last one."""
    number = 0
    for row in json_rows(path):
        rewrites = row.values.get("requested_rewrite") if isinstance(row.values, dict) else None
        if not isinstance(row.values, dict) or not isinstance(rewrites, list) or len(rewrites) < 2:
            number += 1
            yield row._replace(number=number)
            continue
        case = row.values.get("case_id", row.values.get("id", row.number))
        for at, made in enumerate(rewrites, start=1):
            number += 1
            values = row.values | {"requested_rewrite": [made], "case_id": f"{case}-{at}"}
            if at < len(rewrites):
                values = {key: v for key, v in values.items() if key not in _OF_THE_CASE[1:]}
                values["questions"] = []
            yield Row(number, row.line, values)


def _rewrites(value: Any) -> Fault | None:
    """A list of at least one rewrite."""
    if not isinstance(value, list) or not value:
        return Fault("type", f" must be a list of rewrites, got {described(value)}")
    for at, made in enumerate(value):
        fault = rewrite(made)
        if fault is not None:
            return fault._replace(text=f"[{at}]{fault.text}")
    return None


def _hops(value: Any) -> Fault | None:
    """A list of objects, each with a ``question`` and its ``answer``."""
    if not isinstance(value, list) or not all(isinstance(hop, Mapping) for hop in value):
        return Fault("type", f" must be a list of questions, got {described(value)}")
    return None


def _edit(values: Values, id: str, seed: int) -> Edit:
    (made,) = values["requested_rewrite"]
    hops = [
        Question(hop["question"], hop.get("answer"))
        for hop in values.get("new_single_hops", [])
        if isinstance(hop.get("question"), str) and hop["question"].strip()
    ]
    asked = [Question(text, values.get("new_answer")) for text in values["questions"]]
    probes = {"multi_hop": tuple(asked), "single_hop": tuple(hops)}
    other = made.get("question")
    return Edit(
        prompt=prompt_of(made),
        target=made["target_new"]["str"],
        subject=made["subject"],
        rephrases=(other,) if isinstance(other, str) and other.strip() else (),
        probes={name: questions for name, questions in probes.items() if questions},
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("requested_rewrite", _rewrites),
        Field("questions", kinds.texts),
        Field("new_answer", kinds.text, required=False),
        Field("new_single_hops", _hops, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
    rows=_rows,
)
"""A JSON array, or JSON lines of the same rows. An edit is a rewrite, not a case."""

"""``knowedit``: KnowEdit's four sets, and CKnowEdit, which has no names for its groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultraedit.core.types import Edit
from ultraedit.data import _kinds as kinds
from ultraedit.data._groups import first_text, groups, questions_of
from ultraedit.data._json import json_rows
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values
from ultraedit.data._rows import Fault, Row, described

# WikiBio has names of its own; older copies of CKnowEdit keep questions and answers apart.
_RENAMED = {"text": "prompt", "labels": "target_new", "concept": "subject"}
_APART = ("portability", "locality")


def _rows(path: Path) -> Iterator[Row]:
    for row in json_rows(path):
        yield row._replace(values=_plain(row.values)) if isinstance(row.values, dict) else row


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    row = {
        _RENAMED[key] if key in _RENAMED and _RENAMED[key] not in row else key: value
        for key, value in row.items()
    }
    for name in _APART:
        if name not in row and isinstance(prompts := row.get(f"{name}_prompt"), str | list):
            answers = row.get(f"{name}_answer", row.get(f"{name}_ground_truth"))
            row[name] = _paired(_listed(prompts), _listed(answers))
    return row


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _paired(prompts: list[Any], answers: list[Any]) -> list[dict[str, Any]]:
    answers = [*answers, *[None] * (len(prompts) - len(answers))]
    return [{"prompt": p, "answer": a} for p, a in zip(prompts, answers, strict=False)]


def _target(value: Any) -> Fault | None:
    """A text, or a list of right answers of which the first is written."""
    if isinstance(value, list):
        if first_text(value) is None:
            return Fault("empty", f" holds no answer, got {described(value)}")
        return None
    return kinds.text(value)


def _edit(values: Values, id: str, seed: int) -> Edit:
    target = first_text(values["target_new"])
    assert target is not None
    portability = questions_of(values.get("portability"), "portability")
    locality = questions_of(values.get("locality"), "locality")
    rephrases = values.get("rephrase", [])
    return Edit(
        prompt=values["prompt"],
        target=target,
        subject=values.get("subject"),
        rephrases=(rephrases,) if isinstance(rephrases, str) else tuple(rephrases),
        locality=tuple(asked for group in locality.values() for asked in group),
        probes=portability | locality,
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("prompt", kinds.text),
        Field("target_new", _target),
        Field("rephrase", kinds.text_or_texts, required=False),
        Field("portability", groups, required=False),
        Field("locality", groups, required=False),
        Field("subject", kinds.text, required=False),
        *ROW_NAMES,
    ),
    edit=_edit,
    rows=_rows,
    blanks=True,
)
"""A JSON array, or JSON lines of the same rows. The old answers are not used."""

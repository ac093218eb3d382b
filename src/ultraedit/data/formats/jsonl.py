"""``jsonl``: the package's own format, one fact a line. Described in ``docs/data.md``."""

from __future__ import annotations

from typing import Any

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._layout import Field, Layout, Values


def _questions(rows: list[dict[str, Any]]) -> tuple[Question, ...]:
    return tuple(Question(row["prompt"], row.get("target")) for row in rows)


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _edit(values: Values, id: str, seed: int) -> Edit:
    return Edit(
        prompt=values["prompt"],
        target=values["target"],
        subject=values.get("subject"),
        rephrases=_texts(values.get("rephrases", [])),
        locality=_questions(values.get("locality", [])),
        probes={name: _questions(asked) for name, asked in values.get("probes", {}).items()},
        aliases=_texts(values.get("aliases", [])),
        id=id,
    )


LAYOUT = Layout(
    fields=(
        Field("prompt", kinds.text),
        Field("target", kinds.text),
        Field("subject", kinds.text, required=False),
        Field("rephrases", kinds.text_or_texts, required=False),
        Field("locality", kinds.questions, required=False),
        Field("probes", kinds.probes, required=False),
        Field("aliases", kinds.text_or_texts, required=False),
        Field("passage", kinds.text, required=False),
        Field("id", kinds.name, required=False),
    ),
    edit=_edit,
    closed=True,
)
"""One JSON object a line; an unknown key is a fault, since it is most likely a misspelt one."""

"""``rippleedits``: a fact in a sentence, and groups of questions about what follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from ultraedit.core.types import Edit, Question
from ultraedit.data import _kinds as kinds
from ultraedit.data._groups import first_text
from ultraedit.data._json import json_rows
from ultraedit.data._layout import ROW_NAMES, Field, Layout, Values
from ultraedit.data._rows import Fault, Row, described

_UNCHANGED = ("Relation_Specificity", "Forgetfulness")
"""Groups whose answers the edit must not change."""

_FOLLOWS = (
    "Logical_Generalization",
    "Subject_Aliasing",
    "Compositionality_I",
    "Compositionality_II",
)
_VERB = re.compile(r" (?:is|are|was|were)(?= )")


def _rows(path: Path) -> Iterator[Row]:
    for row in json_rows(path):
        if isinstance(row.values, dict) and "Relation_Specifity" in row.values:  # as some files say
            values = dict(row.values)
            values["Relation_Specificity"] = values.pop("Relation_Specifity")
            row = row._replace(values=values)
        yield row


def _statement(value: Any) -> Fault | None:
    """An object whose ``prompt`` is a sentence that ends in the new object."""
    if not isinstance(value, Mapping):
        return Fault("type", f" must be an edit, got {described(value)}")
    fault = kinds.text(value["prompt"]) if value.get("prompt") else None
    if not value.get("prompt"):
        return Fault("missing", ".prompt is missing")
    if fault is None and _VERB.search(value["prompt"]) is None:
        fault = Fault("type", f" has no verb before its object, got {value['prompt']!r}")
    return fault and fault._replace(text=f".prompt{fault.text}")


def _tests(value: Any) -> Fault | None:
    """A list of objects, each with ``test_queries``."""
    if not isinstance(value, list):
        return Fault("type", f" must be a list of tests, got {described(value)}")
    for at, test in enumerate(value):
        queries = test.get("test_queries") if isinstance(test, Mapping) else None
        if not isinstance(queries, list) or not all(isinstance(q, Mapping) for q in queries):
            return Fault("type", f"[{at}] must hold test_queries, got {described(test)}")
    return None


def _edit(values: Values, id: str, seed: int) -> Edit:
    asked = {name: _questions(values.get(name, [])) for name in (*_FOLLOWS, *_UNCHANGED)}
    prompt, target = _split(values, [q.target for group in asked.values() for q in group])
    return Edit(
        prompt=prompt,
        target=target,
        locality=tuple(question for name in _UNCHANGED for question in asked[name]),
        probes={name.lower(): group for name, group in asked.items() if group},
        id=id,
    )


def _questions(tests: list[Any]) -> tuple[Question, ...]:
    pairs = (
        (first_text(query.get("prompt")) or first_text(query.get("phrase")), query.get("answers"))
        for test in tests
        for query in test["test_queries"]
    )
    return tuple(Question(prompt, first_text(answers)) for prompt, answers in pairs if prompt)


def _split(values: Values, answers: list[str | None]) -> tuple[str, str]:
    """Part the sentence into prompt and target: the object has no field of its own.

    It follows a verb. Where there are several, the sentence of the old fact ends the prompt before
    its last word in common, an answer of the questions is the object, or the last verb is taken.
    """
    sentence = values["edit"]["prompt"].strip().removesuffix(".")
    old = values["edit"].get("original_fact") or values["edit"].get("previous_fact") or {}
    letters = zip(sentence, str(old.get("prompt") or sentence), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], letters))
    verbs = list(_VERB.finditer(sentence))
    parted = [
        (sentence[: verb.end()], sentence[verb.end() + 1 :])
        for verb in [verb for verb in verbs if verb.end() <= common] or verbs
    ]
    return next((pair for pair in parted if pair[1] in answers), parted[-1])


LAYOUT = Layout(
    fields=(
        Field("edit", _statement),
        *(Field(name, _tests, required=False) for name in (*_FOLLOWS, *_UNCHANGED)),
        *ROW_NAMES,
    ),
    edit=_edit,
    rows=_rows,
)
"""A JSON array, or JSON lines of the same rows. The conditions of the tests are not used."""

"""Which published layout a JSON file has, by the keys of its first row."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ultraedit.core.errors import DataError
from ultraedit.data._chat import KEYS
from ultraedit.data._files import require_file
from ultraedit.data._json import json_rows
from ultraedit.data.formats.jsonl import LAYOUT


class Signature(NamedTuple):
    """Keys that a format's rows have."""

    format: str
    keys: tuple[str, ...]
    some: tuple[str, ...] = ()
    """Keys of which a row has at least one."""


SIGNATURES = (
    Signature("mquake", ("requested_rewrite", "questions")),
    Signature("counterfact-rome", ("requested_rewrite", "paraphrase_prompts")),
    Signature("rippleedits", ("edit",), ("Relation_Specificity", "Logical_Generalization")),
    Signature("zsre-easyedit", ("src", "alt")),
    Signature("zsre", ("src", "ans")),
    Signature("fever", ("prompt", "equiv_prompt", "alt")),
    Signature("counterfact", ("prompt", "target_new", "rephrase_prompt", "locality_prompt")),
    Signature(
        "knowedit",
        ("prompt", "target_new"),
        ("portability", "locality", "portability_prompt", "locality_prompt"),
    ),
    Signature("knowedit", ("text", "labels", "concept")),
    Signature("wikibigedit", ("update", "ans"), ("personas", "loc_ans")),
    Signature("hallueditbench", ("update", "ans", "mhop")),
    Signature("wikibigedit", ("update", "ans")),
    Signature("ultraeditbench", ("prompt", "ans", "rephrase_prompt", "loc")),
    Signature("json", ("instruction", "output")),
    *(Signature("json", (key,)) for key in KEYS),
)
"""The first that fits is taken."""

_OWN = {field.name for field in LAYOUT.fields}


def detect(path: Path) -> str | None:
    """The format of a JSON file by its first row; None if no layout is known to have such rows."""
    try:
        require_file(path)
        row = next(islice(json_rows(path), 1), None)
    except DataError:
        return None
    return by_keys(row.values) if row is not None and isinstance(row.values, dict) else None


def by_keys(row: dict[str, Any]) -> str | None:
    """The format that has rows with such keys."""
    if {"prompt", "target"} <= set(row) <= _OWN:
        return "jsonl"
    for format, keys, some in SIGNATURES:
        if all(key in row for key in keys) and (not some or any(key in row for key in some)):
            return format
    return None

from __future__ import annotations

import json

import pytest

from tests.tiny import tiny_model
from ultraedit.models import find_modules

MODULES = "layers.[0-1].mlp.down_proj"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ULTRAEDIT_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny():
    return tiny_model("llama")


@pytest.fixture
def modules(tiny):
    return find_modules(tiny.model, [MODULES])


def passages(count):
    """Different passages of different lengths."""
    return [f"Number {n} of the list is {'a word ' * (n % 7)}about Vienna." for n in range(count)]


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "wiki.jsonl"
    rows = (json.dumps({"title": "x", "text": text}) for text in passages(200))
    file.write_text("\n".join(rows), encoding="utf-8")
    return file

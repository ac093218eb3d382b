"""A data folder with small files, and benches of every scale on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_model
from ultraedit.models import save
from ultraedit.tools.reproduce import Environment, choose_models, find_scale

ROWS = {
    "zsre": {"subject": "a", "src": "q?", "rephrase": "r?", "ans": "b", "loc": "l", "loc_ans": "c"},
    "fever": {
        "prompt": "p",
        "equiv_prompt": ["e"],
        "alt": "true",
        "unrel_prompt": "u",
        "unrel_ans": "f",
    },
    "wikibigedit": {"update": "q?", "ans": "a"},
    "ultraeditbench": {
        "prompt": "q?",
        "rephrase_prompt": "r?",
        "ans": "a",
        "loc": "l?",
        "loc_ans": "c",
    },
}


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A data folder in the paper's layout."""
    folder = tmp_path_factory.mktemp("data")
    for name, row in ROWS.items():
        (folder / name).mkdir()
        (folder / name / f"{name}.json").write_text(json.dumps([row]))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """A tiny random Llama of three layers, on disk."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(tiny_model("llama", layers=3), folder)
    return str(folder)


@pytest.fixture
def environment(tmp_path, root):
    """Make a bench: a scale on the data folder, and on a tiny model if asked."""

    def make(scale="smoke", out=None, model=None, root=root) -> Environment:
        models = choose_models((model,)) if model else {}
        return Environment(
            find_scale(scale), out or tmp_path / "out", root, models, dtype="float32"
        )

    return make

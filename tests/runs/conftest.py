"""Runs of a tiny model to keep, to go back in and to take edits out of."""

from __future__ import annotations

import json

import pytest

from tests.tiny import tiny_model
from ultraedit.models import save
from ultraedit.runs import workflow
from ultraedit.runs.config import make_config

NAMES = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gil", "Hal", "Ida", "Jo", "Kim", "Lea")
"""The targets, one per edit; the place of each is its edit's id."""


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with a tiny model and a file of twelve facts."""
    place = tmp_path_factory.mktemp("store")
    save(tiny_model(layers=2), place / "tiny")
    write_facts(place / "facts.jsonl", range(len(NAMES)))
    return place


def write_facts(path, numbers):
    """Write some of the facts as a file of their own."""
    facts = (
        {
            "prompt": f"Who leads town {n}?",
            "target": NAMES[n],
            "id": str(n),
            "rephrases": [f"Town {n} is led by whom?"],
            "locality": [{"prompt": f"Which river flows through town {n}?", "target": "The Inn"}],
        }
        for n in numbers
    )
    path.write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
    return path


@pytest.fixture
def settings(place):
    """Make settings of a run of the twelve facts, two a turn, and change some."""

    def make(**changes):
        values = {
            "model": str(place / "tiny"),
            "data": str(place / "facts.jsonl"),
            "edits_per_turn": 2,
            "free_answers": 0,
            "control_questions": 12,
            "options": {"eta": "auto", "passes": 1},
            "modules": ["layers.[0-1].mlp.down_proj"],
            "dtype": "float32",
        }
        return make_config(values | changes)

    return make


@pytest.fixture
def run(settings, tmp_path, monkeypatch):
    """Do such a run and give its folder. Its report is left out: plots take a second."""
    monkeypatch.setattr(workflow.report, "write", lambda _: None)

    def make(name="run", **changes):
        return workflow.run(settings(**changes), tmp_path / name).folder

    return make
